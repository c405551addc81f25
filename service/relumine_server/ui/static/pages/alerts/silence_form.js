// The form for a new silence: matchers, an end, who and why.

import { el, replace } from "../../core/elements.js";
import { counted } from "../../core/format.js";
import { refreshOpenAlerts } from "../../core/open_alerts.js";
import { CAUSES, words } from "../../core/states.js";
import { authorInput, choice, hoursChoice, labelled, noteInput, saveAuthor } from "../../parts/action_fields.js";
import { createSilence } from "../../parts/alert_actions.js";

const MATCHERS = {
  project: "project",
  run_id: "run id",
  incident_id: "incident id",
  group: "group",
  name: "run name",
  layer: "layer",
  kind: "kind",
  severity: "severity",
  cause: "cause",
};
const KINDS = ["dying", "dead", "born_dead", "constant_output", "diverged", "no_data", "stalled"];
const SUGGESTED = { kind: KINDS, severity: ["critical", "warning", "info"], cause: Object.keys(CAUSES) };

export class SilenceForm {
  // onCreate is called after a silence was created.
  constructor(onCreate) {
    this.onCreate = onCreate;
    this.rowNumber = 0;
    this.rows = el("div", { class: "matcher-rows" });
    this.hours = hoursChoice("silence-hours");
    this.author = authorInput("silence-author");
    this.comment = noteInput("silence-comment");
    this.submitButton = el("button", { type: "submit", class: "primary", id: "silence-create" }, "Create the silence");
    this.problem = el("p", { class: "problem", role: "alert" });
    this.result = el("p", { class: "quiet", role: "status" });
    const legend = el("legend", {}, "Silence alerts for which all of these hold (", el("code", {}, "*"), " matches anything)");
    const onAdd = () => this.addRow();
    const add = el("button", { type: "button", class: "small", id: "add-matcher", click: onAdd }, "Add a condition");
    const fields = [labelled("For", this.hours), labelled("Your name", this.author), labelled("Why", this.comment)];
    const properties = { class: "silence-form", "aria-label": "New silence", submit: (event) => this.submit(event) };
    const actions = el("div", { class: "actions" }, fields, this.submitButton);
    const form = el("form", properties, el("fieldset", {}, legend, this.rows, add), actions, this.problem, this.result);
    this.root = el("details", { class: "notice" }, el("summary", { id: "new-silence" }, "New silence"), form);
    this.addRow({ focus: false });
  }

  addRow({ focus = true } = {}) {
    const used = this.pairs().map(([name]) => name);
    const free = Object.keys(MATCHERS).find((name) => !used.includes(name));
    if (!free) return;
    this.rowNumber += 1;
    const row = matcherRow(this.rowNumber, free);
    this.rows.append(row);
    if (focus) row.querySelector("input").focus();
  }

  pairs() {
    return [...this.rows.children].map((row) => [row.querySelector("select").value, row.querySelector("input").value.trim()]);
  }

  async submit(event) {
    event.preventDefault();
    this.result.textContent = "";
    this.problem.textContent = this.repetition();
    if (this.problem.textContent) return;
    this.submitButton.disabled = true;
    try {
      await this.create();
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.submitButton.disabled = false;
  }

  // Returns what is wrong where a condition is there twice: the server takes one value for each.
  repetition() {
    const names = this.pairs().map(([name]) => name);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    return twice ? `${MATCHERS[twice]} is there twice; use one condition with a pattern instead.` : "";
  }

  async create() {
    const values = { author: this.author.value.trim(), note: this.comment.value };
    saveAuthor(values.author);
    const silence = await createSilence(Object.fromEntries(this.pairs()), Number(this.hours.value), values);
    this.result.textContent = `The silence is in force; it matches ${counted(silence.matched, "open alert")}.`;
    replace(this.rows);
    this.comment.value = "";
    this.addRow({ focus: false });
    refreshOpenAlerts();
    await this.onCreate();
  }
}

function matcherRow(number, chosen) {
  const suggestions = el("datalist", { id: `matcher-values-${number}` });
  const properties = { required: true, maxlength: 512, list: suggestions.id, autocomplete: "off", size: 26 };
  const value = el("input", { ...properties, "aria-label": "Value or pattern" });
  const name = choice(`matcher-${number}`, MATCHERS);
  name.setAttribute("aria-label", "What to compare");
  name.value = chosen;
  name.addEventListener("change", suggest);
  const remove = el("button", { type: "button", class: "small", click: removeRow }, "Remove");
  const row = el("div", { class: "actions" }, name, value, suggestions, remove);
  function suggest() {
    suggestions.replaceChildren(...(SUGGESTED[name.value] || []).map((text) => el("option", { value: text }, words(text))));
  }
  function removeRow() {
    if (row.parentNode.children.length > 1) row.remove();
  }
  suggest();
  return row;
}
