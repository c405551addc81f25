// Elements of the page. Data becomes text nodes only; innerHTML is used nowhere.

const READ_ATTRIBUTES = new Set(["title", "aria-label"]);

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : READ_ATTRIBUTES.has(name) ? plain(String(value)) : String(value));
  }
  node.append(...toNodes(children));
  return node;
}

export function svg(tag, properties = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

function toNodes(children) {
  const present = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return present.map((child) => (typeof child === "object" ? child : plain(String(child))));
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

// Makes the children of parent those that render() returns for the items, in their order. The node of an item that has
// not changed stays the same node: a selection of text, the focus and an open menu survive a refresh.
export function updateList(parent, items, keyOf, render) {
  const nodes = parent.nodesByKey || new Map();
  const next = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const version = JSON.stringify(item);
    const existing = nodes.get(key);
    const isCurrent = existing && (existing.version === version || isBeingEdited(existing.node));
    next.set(key, isCurrent ? existing : { version, node: render(item) });
  }
  parent.nodesByKey = next;
  const wanted = [...next.values()].map(({ node }) => node);
  if (wanted.length === parent.children.length && wanted.every((node, index) => node === parent.children[index])) return;
  replace(parent, wanted);
}

// Returns true while a field inside has the focus: a refresh has to wait then. A checkbox holds nothing that is typed; a
// row would stay old as long as its box has the focus.
export function isBeingEdited(parent) {
  const active = document.activeElement;
  return parent.contains(active) && active.type !== "checkbox" && ["INPUT", "TEXTAREA", "SELECT"].includes(active.tagName);
}

export function facts(pairs) {
  const present = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el(
    "dl",
    { class: "facts" },
    present.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

// columns: [{title, number: bool, cell: (row) => Node | string}]
export function table(caption, columns, rows, { keyOf = null } = {}) {
  const body = el("tbody");
  const node = el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, columns.map(headCell))), body);
  const render = (row) =>
    el(
      "tr",
      {},
      columns.map((column) => el("td", { class: cellClass(column) }, column.cell(row))),
    );
  if (keyOf) updateList(body, rows, keyOf, render);
  else body.append(...rows.map(render));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, node);
}

export function cellClass(column) {
  return [column.number ? "number" : "text", column.name || ""].filter(Boolean).join(" ");
}

function headCell(column) {
  return el("th", { scope: "col", class: cellClass(column) }, column.title);
}

export function runLabel(run) {
  return plain(run.name || run.run_id);
}

// A button that copies text; it says so for a moment.
export function copyButton(text, label = "Copy") {
  const button = el("button", { type: "button", class: "small", click: copy }, label);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed by the browser";
    }
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  }
  return button;
}

// Offers text as a file to save.
export function download(name, content, type = "text/csv") {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = el("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
