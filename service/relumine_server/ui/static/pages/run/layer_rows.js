// The rows of the heat map: a layer each; where there are more than fit, the layers below one module, or a range of them.

import { emptyTrace } from "./traces.js";

const MOST_UNFOLDED = 400; // rows, after the reader has unfolded a module

// Returns [{label, prefix, layers, traces}] in the order of the model. `folds` holds the prefixes that the reader has
// changed, with true where they are folded. Prefixes are folded by themselves until at most `most` rows are left; layers
// without a common module are then folded by their neighbours.
export function layerRows(layers, traces, folds, most) {
  const inOrder = [...layers].sort((a, b) => a.layer_id - b.layer_id);
  const deepest = Math.max(0, ...inOrder.map((layer) => prefixes(layer).length));
  let rows = [];
  for (let depth = deepest; depth >= 0; depth -= 1) {
    rows = rowsAt(inOrder, depth, folds);
    if (rows.length <= most) break;
  }
  if (rows.length > most) rows = inRanges(rows, folds, most);
  return rows.map((row) => ({ ...row, traces: row.layers.map((layer) => traces.get(layer.layer_id) || emptyTrace()) }));
}

// Returns the prefixes of a layer's module from the outermost: of "a.b.act" they are "a" and "a.b".
function prefixes(layer) {
  const parts = layer.name.split(".");
  return parts.slice(0, -1).map((_, index) => parts.slice(0, index + 1).join("."));
}

function rowsAt(layers, depth, folds) {
  const rows = [];
  for (const layer of layers) {
    const prefix = foldedPrefix(prefixes(layer), depth, folds);
    const last = rows.at(-1);
    if (prefix !== null && last?.prefix === prefix) last.layers.push(layer);
    else rows.push({ prefix, label: layer.label.replace(/^layer /, ""), layers: [layer] });
  }
  for (const row of rows) if (row.layers.length > 1) row.label = `${row.prefix}.*`;
  return rows;
}

// Returns the rows with neighbouring single layers as one row each, as many of them as it takes.
function inRanges(rows, folds, most) {
  const isOpen = (row) => rows.length <= MOST_UNFOLDED && prefixes(row.layers[0]).some((prefix) => folds.get(prefix) === false);
  const isLoose = (row) => row.layers.length === 1 && !isOpen(row);
  const loose = rows.filter(isLoose).length;
  const size = Math.ceil(loose / Math.max(1, most - (rows.length - loose)));
  const ranges = [];
  for (const row of rows) {
    const last = ranges.at(-1);
    if (!isLoose(row)) ranges.push([row]);
    else if (last && last.length < size && isLoose(last[0])) last.push(row);
    else ranges.push([row]);
  }
  return ranges.flatMap((range) => foldedRange(range, folds));
}

function foldedRange(range, folds) {
  if (range.length === 1) return range;
  const label = `${range[0].label} … ${range.at(-1).label}`;
  const prefix = `${range[0].layers[0].layer_id} … ${range.at(-1).layers[0].layer_id}`; // names may repeat
  if (folds.get(prefix) === false) return range;
  return [{ prefix, label, layers: range.flatMap(({ layers }) => layers) }];
}

// Returns the outermost prefix that is folded: by the reader, or because it lies deeper than what fits.
function foldedPrefix(candidates, depth, folds) {
  for (let index = 0; index < candidates.length; index += 1) {
    const isFolded = folds.get(candidates[index]) ?? index >= depth;
    if (isFolded) return candidates[index];
  }
  return null;
}
