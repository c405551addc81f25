// The layers of a run, in the order of risk or of the model.

import { changeQuery, layerAddress, readAddress } from "../../core/address.js";
import { el, updateList } from "../../core/elements.js";
import { count, counted, number, share } from "../../core/format.js";
import { badge } from "../../core/states.js";

const TITLES = ["Layer", "State", "Risk", "Lost units", "Active", "Dying", "Dead", "Born dead", "Units", "Last step"];
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
  const root = el(
    "div",
    {},
    el("div", { class: "actions" }, search, order),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Layers" },
      el("table", {}, caption, el("thead", {}, head), body),
    ),
  );
  let layers = [];
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
    caption.textContent = text
      ? `${count(matching.length)} of ${counted(layers.length, "layer")}`
      : counted(layers.length, "layer");
    updateList(
      body,
      matching.sort(ORDERS[order.value]),
      (layer) => layer.layer_id,
      (layer) => layerRow(runId, layer),
    );
  }

  function render(overview) {
    layers = [...overview.layers];
    show();
  }
  return { root, render };
}

function layerRow(runId, layer) {
  const link = el("a", { href: layerAddress(runId, layer.layer_id), id: `layer-${layer.layer_id}` }, layer.label);
  const cells = [
    link,
    badge(layer.state),
    number(layer.risk),
    lostBar(layer),
    share(layer.active_rate),
    share(layer.dying_fraction),
    share(layer.dead_fraction),
    share(layer.born_dead_fraction),
    count(layer.units),
    count(layer.last_step),
  ];
  return el(
    "tr",
    {},
    cells.map((cell, index) => el("td", { class: index < 2 ? "text" : "number" }, cell)),
  );
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
