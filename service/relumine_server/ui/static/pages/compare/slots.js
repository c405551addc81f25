// The colour and the dash of each compared run.

import { el, svg } from "../../core/elements.js";

const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [1, 2], [6, 2, 1, 2, 1, 2]];

export function colourOf({ slot }) {
  return `run-${slot + 1}`;
}

export function dashOf({ slot }) {
  return DASHES[slot];
}

export function swatch(entry) {
  const line = svg("line", { x1: 0, y1: 5, x2: 28, y2: 5, "stroke-width": 2.5, "stroke-dasharray": dashOf(entry).join(" ") });
  line.style.stroke = `var(--${colourOf(entry)})`;
  return svg("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" }, line);
}

// Returns the swatch of a run beside a link or a text.
export function withSwatch(entry, node) {
  return el("span", { class: "with-swatch" }, swatch(entry), node);
}
