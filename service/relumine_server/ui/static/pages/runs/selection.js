// What can be done with the selected runs: compare, rename, tag, delete.

import { addressOf } from "../../core/address.js";
import { patch, path, remove } from "../../core/api.js";
import { el, replace, runLabel } from "../../core/elements.js";
import { counted } from "../../core/format.js";

const MOST_COMPARED = 8;
const MOST_NAME_CHARACTERS = 200;

// `selected` is a Map from run_id to the run; onDone is called after runs were changed.
export function selectionBar(selected, { rights, onDone }) {
  const root = el("div", { class: "notice", role: "region", "aria-label": "Selected runs", hidden: true });
  const problem = el("p", { class: "problem", role: "alert" });

  function update() {
    root.hidden = selected.size === 0;
    if (root.hidden) return;
    const ids = [...selected.keys()];
    const compare = el("a", { href: addressOf(["compare"], { runs: ids.slice(0, MOST_COMPARED).join(",") }) }, "Compare");
    const parts = [el("strong", {}, counted(ids.length, "run"), " selected"), compare];
    if (rights.canManage && ids.length === 1) parts.push(nameForm(...selected.values()));
    if (rights.canManage) parts.push(tagForm(), deleteButton());
    parts.push(el("button", { type: "button", click: clear }, "Clear the selection"));
    problem.textContent = "";
    replace(root, el("div", { class: "actions" }, parts), problem);
  }

  function clear() {
    selected.clear();
    onDone();
  }

  function nameForm(run) {
    const name = el("input", {
      name: "name",
      id: "run-name",
      maxlength: MOST_NAME_CHARACTERS,
      required: true,
      "aria-label": "Name of the run",
      autocomplete: "off",
      size: 18,
    });
    name.value = run.name || "";
    const submit = (event) => {
      event.preventDefault();
      name.value = name.value.trim();
      if (form.reportValidity()) each(() => patch(path("runs", run.run_id), { name: name.value }));
    };
    const form = el("form", { class: "actions", submit }, name, el("button", { type: "submit" }, "Rename"));
    return form;
  }

  function tagForm() {
    const tag = el("input", {
      name: "tag",
      maxlength: 64,
      required: true,
      "aria-label": "Tag to add",
      placeholder: "tag",
      size: 10,
    });
    const withTag = (run) => ({ tags: [...new Set([...run.tags, tag.value.trim()])] });
    const submit = (event) => {
      event.preventDefault();
      each((run) => patch(path("runs", run.run_id), withTag(run)));
    };
    return el("form", { class: "actions", submit }, tag, el("button", { type: "submit" }, "Add the tag"));
  }

  function deleteButton() {
    const button = el("button", { type: "button", class: "danger", click: ask }, "Delete…");
    function ask() {
      const yes = el(
        "button",
        { type: "button", class: "danger", click: () => each((run) => remove(path("runs", run.run_id))) },
        `Delete ${counted(selected.size, "run")} with all records and alerts`,
      );
      const no = el("button", { type: "button", click: update }, "Keep them");
      button.replaceWith(yes, no);
      yes.focus();
    }
    return button;
  }

  async function each(change) {
    const failures = [];
    for (const run of selected.values()) {
      try {
        await change(run);
      } catch (error) {
        failures.push(`${runLabel(run)}: ${error.message}`);
      }
    }
    if (failures.length) problem.textContent = failures.join("; ");
    else clear();
  }

  return { root, update };
}
