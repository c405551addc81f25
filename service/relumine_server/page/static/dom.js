// Building the page. Data becomes text nodes and nothing else: there is no innerHTML anywhere.

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...given(children));
  return node;
}

function given(children) {
  const there = children.flat().filter((child) => child !== null && child !== undefined);
  return there.map((child) => (typeof child === "string" ? plain(child) : child));
}

// A name may hold marks that turn the direction of all text behind them: they are made visible, not obeyed.
export function plain(text) {
  return text.replaceAll(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

// Replaces the content and gives the focus back to the element of the same id, so that a
// refresh never throws a keyboard user to the top of the page.
export function replace(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...given(children));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// Whether somebody is typing inside: then a refresh has to wait.
export function isBeingEdited(parent) {
  const active = document.activeElement;
  return parent.contains(active) && ["INPUT", "TEXTAREA", "SELECT"].includes(active.tagName);
}

export function tag(word) {
  return el("span", { class: `tag ${word}` }, word.replaceAll("_", " "));
}

export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// columns: [{title, number: bool, cell: (row) => Node | string}]
export function table(caption, columns, rows) {
  const kind = (column) => (column.number ? "number" : "text");
  const head = columns.map((column) => el("th", { scope: "col", class: kind(column) }, column.title));
  const line = (row) => el("tr", {}, columns.map((column) => el("td", { class: kind(column) }, column.cell(row))));
  return el("div", { class: "scroll" }, el("table", {},
    el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows.map(line))));
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  const far = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3);
  return far ? value.toExponential(2) : String(Number(value.toPrecision(4)));
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
