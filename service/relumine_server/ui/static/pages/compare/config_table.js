// The configurations beside each other: at first only what differs.

import { changeQuery, readAddress } from "../../core/address.js";
import { el, replace, runLabel } from "../../core/elements.js";
import { count } from "../../core/format.js";
import { withSwatch } from "./slots.js";

export class ConfigTable {
  constructor() {
    this.entries = [];
    this.showsAll = readAddress().query.get("config") === "all";
    this.root = el("section");
  }

  show(entries) {
    this.entries = entries;
    this.render();
  }

  toggle() {
    this.showsAll = !this.showsAll;
    changeQuery({ config: this.showsAll ? "all" : null });
    this.render();
  }

  render() {
    if (!this.entries.length) {
      replace(this.root);
      return;
    }
    const rows = configRows(this.entries);
    const different = rows.filter(({ differs }) => differs);
    const visibleRows = this.showsAll ? rows : different;
    const button = el(
      "button",
      {
        type: "button",
        class: "small",
        id: "config-all",
        "aria-pressed": String(this.showsAll),
        click: () => this.toggle(),
      },
      "Show what is equal, too",
    );
    replace(
      this.root,
      el("div", { class: "actions" }, el("h2", {}, "Configuration"), button),
      visibleRows.length
        ? this.table(visibleRows, different.length, rows.length)
        : el("p", { class: "notice" }, emptyText(rows.length)),
    );
  }

  table(rows, differing, total) {
    const caption = `${count(differing)} of ${count(total)} values differ.`;
    const heads = this.entries.map(headCell);
    const body = rows.map(({ key, values, differs }) =>
      el(
        "tr",
        { class: differs ? "differs" : null },
        el("th", { scope: "row" }, key),
        values.map((value) => el("td", {}, value ?? el("span", { class: "quiet" }, "–"))),
      ),
    );
    return el(
      "div",
      { class: "scroll differences", tabindex: "0", role: "region", "aria-label": "Configuration" },
      el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, el("td", {}, ""), heads)), el("tbody", {}, body)),
    );
  }
}

function headCell(entry) {
  const label = runLabel(entry.overview.run);
  return el("th", { scope: "col", class: "run" }, withSwatch(entry, el("span", { title: label }, label)));
}

function emptyText(total) {
  if (total) return "The configurations are equal.";
  return "No configuration was sent. Pass config= to relumine.watch to see here what differs.";
}

// Returns the rows {key, values, differs}; a value is text, or undefined where a run has no such key.
export function configRows(entries) {
  const flat = entries.map(({ overview: { run } }) => new Map([...flatten(run.config), ...versions(run)]));
  const keys = [...new Set(flat.flatMap((map) => [...map.keys()]))].sort();
  return keys.map((key) => {
    const values = flat.map((map) => map.get(key));
    return { key, values, differs: new Set(values).size > 1 };
  });
}

function versions({ torch, sdk }) {
  return [
    ["torch version", torch],
    ["relumine version", sdk],
  ].filter(([, value]) => value);
}

// Nested objects become dotted keys; lists stay one value.
function flatten(value, prefix = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value) || !Object.keys(value).length) {
    return prefix ? [[prefix, typeof value === "string" ? value : JSON.stringify(value)]] : [];
  }
  return Object.entries(value).flatMap(([name, item]) => flatten(item, prefix ? `${prefix}.${name}` : name));
}
