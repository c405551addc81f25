// Small charts within a row of a table, as inline SVG.

import { svg } from "../core/elements.js";

const WIDTH = 96;
const HEIGHT = 24;

// Shares in [0, 1] over steps, filled below; a line at 0 so that "nothing lost" shows.
export function shareSparkline(step, value, label) {
  const points = step.map((x, index) => [x, value[index]]).filter(([, y]) => y !== null && y !== undefined);
  const node = svg("svg", { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  node.append(svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }));
  if (points.length < 2 || points.every(([, y]) => y === 0)) return node;
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const toX = (x) => ((x - first) / (last - first || 1)) * WIDTH;
  const toY = (y) => HEIGHT - 1 - Math.min(1, y) * (HEIGHT - 2);
  const line = points.map(([x, y], index) => `${index ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join("");
  node.append(svg("path", { class: "area", d: `${line}L${WIDTH} ${HEIGHT - 1}L0 ${HEIGHT - 1}Z` }), svg("path", { d: line }));
  return node;
}
