// A table whose rows stay the same nodes while their items stay the same. On a phone its rows are cards, and each value
// has its title beside it.

import { cellClass, el, updateList } from "../../core/elements.js";

// columns: as those of table(), and isHead for the cell that names its row.
export function liveTable(caption, columns, keyOf) {
  const body = el("tbody");
  const head = el(
    "tr",
    {},
    columns.map((column) => el("th", { scope: "col", class: cellClass(column) }, column.title)),
  );
  const node = el("table", { class: "as-cards" }, el("caption", {}, caption), el("thead", {}, head), body);
  const root = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, node);
  const render = (item) =>
    el(
      "tr",
      {},
      columns.map((column) => cell(column, item)),
    );
  return { root, update: (items) => updateList(body, items, keyOf, render) };
}

function cell(column, item) {
  const title = column.title && !column.isHead ? el("span", { class: "cell-title", "aria-hidden": "true" }, column.title) : null;
  const properties = { class: cellClass(column), ...(column.isHead ? { scope: "row" } : {}) };
  return el(column.isHead ? "th" : "td", properties, title, el("div", { class: "cell" }, column.cell(item)));
}
