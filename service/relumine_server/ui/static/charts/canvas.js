// Canvases in the resolution of the screen, and the pattern for missing data.

import { el } from "../core/elements.js";

export function makeCanvas(parent) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  parent.append(canvas);
  return canvas;
}

// Sets the size in CSS pixels and returns the context, cleared.
export function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const patterns = new Map(); // by colour

// Fills a rectangle with diagonal lines: no data.
export function hatch(context, colour, x, y, width, height) {
  if (!patterns.has(colour)) {
    const tile = el("canvas", { width: 6, height: 6 });
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour;
    pen.beginPath();
    for (const offset of [-6, 0, 6]) {
      pen.moveTo(offset - 1, 7);
      pen.lineTo(offset + 7, -1);
    }
    pen.stroke();
    patterns.set(colour, context.createPattern(tile, "repeat"));
  }
  context.fillStyle = patterns.get(colour);
  context.fillRect(x, y, width, height);
}

// Returns a colour such as #dfe7ef as [red, green, blue].
export function rgb(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export function mix(from, to, amount) {
  return from.map((value, index) => Math.round(value + (to[index] - value) * amount));
}
