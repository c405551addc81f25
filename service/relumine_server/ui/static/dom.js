// Elements of the page and formats of values. Data becomes text nodes only; innerHTML is used nowhere.

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...toNodes(children));
  return node;
}

function toNodes(children) {
  const present = children.flat().filter((child) => child !== null && child !== undefined);
  return present.map((child) => (typeof child === "string" ? plain(child) : child));
}

// Replaces the Unicode marks in a name that would reverse the direction of the text after it by a visible character.
export function plain(text) {
  return text.replaceAll(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

// Replaces the content and focuses the element of the same id again, so that a refresh does not move a keyboard user
// to the top of the page.
export function replace(parent, ...children) {
  const focusedId = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...toNodes(children));
  if (focusedId) document.getElementById(focusedId)?.focus({ preventScroll: true });
}

// Returns true while a field inside has the focus: a refresh has to wait then.
export function isBeingEdited(parent) {
  const active = document.activeElement;
  return parent.contains(active) && ["INPUT", "TEXTAREA", "SELECT"].includes(active.tagName);
}

export function tag(word) {
  return el("span", { class: `tag ${word}` }, word.replaceAll("_", " "));
}

export function facts(pairs) {
  const present = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, present.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// columns: [{title, number: bool, cell: (row) => Node | string}]
export function table(caption, columns, rows) {
  const cellClass = (column) => (column.number ? "number" : "text");
  const head = columns.map((column) => el("th", { scope: "col", class: cellClass(column) }, column.title));
  const tableRow = (row) => el("tr", {}, columns.map((column) => el("td", { class: cellClass(column) }, column.cell(row))));
  return el("div", { class: "scroll" }, el("table", {},
    el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows.map(tableRow))));
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  const needsExponent = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3);
  return needsExponent ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function share(value) {
  if (value === null || value === undefined) return "–";
  const percent = value * 100;
  return `${percent > 0 && percent < 1 ? percent.toFixed(1) : Math.round(percent)} %`;
}

export function moment(text) {
  if (!text) return "–";
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  return el("time", { datetime: text, title: text }, time.toLocaleString());
}

export function runLabel(run) {
  return plain(run.name || run.run_id);
}
