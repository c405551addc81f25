// The layers of a run, in the order of risk or of the model.

import { changeQuery, layerAddress, readAddress } from "../../core/address.js";
import { el, plain, replace, setText } from "../../core/elements.js";
import { count, counted, share } from "../../core/format.js";
import { badge } from "../../core/states.js";

const TITLES = ["Layer", "State", "Risk", "Lost units", "Active", "Dying", "Dead", "Born dead", "Units", "Last step"];
const ROWS_AT_ONCE = 500; // the table of thousands of layers would take seconds to lay out
const ORDERS = {
  risk: (a, b) => b.risk - a.risk || a.layer_id - b.layer_id,
  model: (a, b) => a.layer_id - b.layer_id,
};

export function layersTab(runId) {
  const body = el("tbody");
  const caption = el("caption");
  const search = el("input", {
    type: "search",
    id: "layer-search",
    placeholder: "name of a layer",
    "aria-label": "Search layers",
  });
  const order = el(
    "select",
    { id: "layer-order", "aria-label": "Order of the layers" },
    el("option", { value: "risk" }, "highest risk first"),
    el("option", { value: "model" }, "as in the model"),
  );
  order.value = readAddress().query.get("layers") === "model" ? "model" : "risk";
  const head = el(
    "tr",
    {},
    TITLES.map((title, index) => el("th", { scope: "col", class: index < 2 ? "text" : "number" }, title)),
  );
  const rows = new Map(); // by layer_id
  let layers = [];
  let most = ROWS_AT_ONCE;
  const more = el("button", { type: "button", id: "more-layers", hidden: true, click: showMore }, "Show more layers");
  const root = el(
    "div",
    {},
    el("div", { class: "actions" }, search, order),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Layers" },
      el("table", {}, caption, el("thead", {}, head), body),
    ),
    el("p", { class: "actions" }, more),
  );
  search.addEventListener("input", () => show());
  order.addEventListener("change", () => {
    changeQuery({ layers: order.value === "risk" ? null : order.value });
    show();
  });

  function show() {
    const text = search.value.trim().toLowerCase();
    const matching = layers.filter(
      (layer) => layer.label.toLowerCase().includes(text) || layer.name.toLowerCase().includes(text),
    );
    const total = counted(layers.length, "layer");
    const amount = text ? `${count(matching.length)} of ${total}` : total;
    setText(caption, matching.length > most ? `${amount}; ${count(most)} are shown` : amount);
    more.hidden = matching.length <= most;
    const nodes = matching.sort(ORDERS[order.value]).slice(0, most).map(rowOf);
    if (nodes.length !== body.children.length || nodes.some((node, index) => node !== body.children[index])) replace(body, nodes);
  }

  function showMore() {
    most += ROWS_AT_ONCE;
    show();
  }

  function rowOf(layer) {
    const row = rows.get(layer.layer_id);
    if (row) row.update(layer);
    else rows.set(layer.layer_id, layerRow(runId, layer));
    return rows.get(layer.layer_id).node;
  }

  function render(overview) {
    layers = [...overview.layers];
    show();
  }
  return { root, render };
}

// Returns {node, update}: of a row whose layer has changed only the cells are written that have.
function layerRow(runId, layer) {
  const link = el("a", { href: layerAddress(runId, layer.layer_id), id: `layer-${layer.layer_id}` }, layer.label);
  const cells = TITLES.map((_, index) => el("td", { class: index < 2 ? "text" : "number" }));
  cells[0].classList.add("layer-name");
  cells[0].append(link);
  const versions = TITLES.map(() => null);
  function update(current) {
    setText(link, plain(current.label));
    contents(current).forEach(([version, make], index) => {
      if (version === versions[index]) return;
      versions[index] = version;
      if (make) replace(cells[index + 1], make());
      else setText(cells[index + 1], version);
    });
  }
  update(layer);
  return { node: el("tr", {}, cells), update };
}

// Returns [text] of each cell behind the link, or [version, make] where it is more than a text.
function contents(layer) {
  const { dead_fraction: dead, born_dead_fraction: bornDead, dying_fraction: dying } = layer;
  return [
    [layer.state, () => badge(layer.state)],
    [share(layer.risk)],
    [`${dead} ${bornDead} ${dying}`, () => lostBar(layer)],
    [share(layer.active_rate)],
    [share(dying)],
    [share(dead)],
    [share(bornDead)],
    [count(layer.units)],
    [count(layer.last_step)],
  ];
}

function lostBar(layer) {
  const parts = [
    ["dead", layer.dead_fraction],
    ["born-dead", layer.born_dead_fraction],
    ["dying", layer.dying_fraction],
  ];
  const total = parts.reduce((sum, [, value]) => sum + (value ?? 0), 0);
  const bar = parts
    .filter(([, value]) => value)
    .map(([colour, value]) => el("i", { style: `width:${100 * value}%;background:var(--${colour})` }));
  return [
    layer.dead_fraction === null ? "–" : `${share(Math.min(1, total))} `,
    el("span", { class: "share-bar", "aria-hidden": "true" }, bar),
  ];
}
