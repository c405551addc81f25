// The configuration of a run: every value by its dotted name, with a search.

import { copyButton, el, replace } from "../../core/elements.js";

export function configTab() {
  const search = el("input", {
    type: "search",
    id: "config-search",
    placeholder: "name or value",
    "aria-label": "Search the configuration",
  });
  const body = el("div");
  const root = el("div", {}, search, body);
  let entries = [];
  let rendered = "";
  search.addEventListener("input", () => show());

  function show() {
    const text = search.value.trim().toLowerCase();
    const matching = entries.filter(([name, value]) => `${name} ${value}`.toLowerCase().includes(text));
    const row = ([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "text" }, value));
    replace(
      body,
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Configuration" },
        el("table", {}, el("tbody", {}, matching.map(row))),
      ),
    );
  }

  function render({ run }) {
    const version = JSON.stringify([run.config, run.tags, run.sdk, run.torch]);
    if (version === rendered) return;
    rendered = version;
    entries = [
      ...flatten(run.config),
      ["tags", run.tags.join(", ")],
      ["relumine", run.sdk || "–"],
      ["torch", run.torch || "–"],
      ["run id", run.run_id],
    ];
    search.hidden = entries.length < 12;
    show();
    if (!Object.keys(run.config).length)
      body.prepend(el("p", { class: "notice" }, "This run has no configuration: pass config={…} to relumine.watch."));
    else body.append(el("p", {}, copyButton(JSON.stringify(run.config, null, 2), "Copy as JSON")));
  }
  return { root, render };
}

// Returns [["optimizer.lr", "0.1"], …] of nested values.
export function flatten(value, prefix = "") {
  if (value === null || typeof value !== "object")
    return [[prefix || "value", typeof value === "string" ? value : JSON.stringify(value)]];
  const entries = Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value);
  if (!entries.length) return prefix ? [[prefix, Array.isArray(value) ? "[]" : "{}"]] : [];
  return entries.flatMap(([name, item]) => flatten(item, prefix ? `${prefix}.${name}` : String(name)));
}
