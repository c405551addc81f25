// Lines and stacked areas over steps, drawn on a canvas.

import { linear, logTicks, logarithmic, lowerBound, ticks } from "./scale.js";
import { number, share } from "../core/format.js";
import { themeColours } from "../core/states.js";

const PADDING = 6;
const MARKER_BELOW = 60; // with fewer points than this on the screen each gets a dot

// lines: [{name, step, value, colour, dash}]; steps ascend, null is a gap. Returns the scale that was used.
export function drawLines(context, view, lines, { height, isLogarithmic = false, isShare = false, fromZero = false }) {
  const visible = lines.map((line) => visiblePart(line, view));
  const [low, high] = extent(visible, { isLogarithmic, fromZero, isShare });
  const scale = isLogarithmic ? logarithmic : linear;
  const toY = scale(low, high, height - PADDING, PADDING);
  drawGrid(context, view, { low, high, toY, isLogarithmic, isShare, height });
  for (const line of visible) drawLine(context, view, line, toY, isLogarithmic);
  return toY;
}

function visiblePart(line, view) {
  const first = Math.max(0, lowerBound(line.step, view.from) - 1);
  const last = Math.min(line.step.length, lowerBound(line.step, view.to) + 2);
  return { ...line, first, last };
}

function extent(lines, { isLogarithmic, fromZero, isShare }) {
  let low = Infinity;
  let high = -Infinity;
  for (const { value, first, last } of lines) {
    for (let index = first; index < last; index += 1) {
      const y = value[index];
      if (y === null || y === undefined || !Number.isFinite(y) || (isLogarithmic && y <= 0)) continue;
      if (y < low) low = y;
      if (y > high) high = y;
    }
  }
  if (low > high) return isLogarithmic ? [0.1, 1] : [0, 1];
  if (isShare) return [0, Math.max(high, 0.05)];
  if (fromZero) low = Math.min(0, low);
  return low === high ? around(low, isLogarithmic) : [low, high];
}

// Returns a range around a value that never changes.
function around(value, isLogarithmic) {
  if (isLogarithmic) return [value / 2, value * 2];
  return value === 0 ? [0, 1] : [value - Math.abs(value) / 2, value + Math.abs(value) / 2];
}

function drawGrid(context, view, { low, high, toY, isLogarithmic, isShare, height }) {
  const { line, quiet } = themeColours("line", "quiet");
  const wanted = Math.max(2, Math.floor(height / 34));
  const values = isLogarithmic ? logTicks(low, high, wanted) : ticks(low, high, wanted);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "bottom";
  for (const value of values) {
    const y = Math.round(toY(value)) + 0.5;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(view.width, y);
    context.stroke();
    context.fillStyle = quiet;
    context.fillText(isShare ? share(value) : number(Number(value.toPrecision(6))), 3, y < 14 ? y + 13 : y - 1);
  }
}

// Each pixel column shows the range of the values in it, so that a spike shows however many points there are.
function drawLine(context, view, { step, value, first, last, colour, dash = [], width = 1.6 }, toY, isLogarithmic) {
  const stroke = themeColours(colour)[colour];
  context.strokeStyle = stroke;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  let previousX = null;
  let lowest = 0;
  let highest = 0;
  let isDrawing = false;
  for (let index = first; index < last; index += 1) {
    const current = value[index];
    if (current === null || current === undefined || !Number.isFinite(current) || (isLogarithmic && current <= 0)) {
      isDrawing = false;
      continue;
    }
    const x = Math.round(view.toX(step[index]) * 2) / 2;
    const y = toY(current);
    if (!isDrawing) context.moveTo(x, y);
    else if (x !== previousX) context.lineTo(x, y);
    else if (y < lowest || y > highest) context.lineTo(x, y);
    if (x !== previousX || !isDrawing) [lowest, highest] = [y, y];
    else [lowest, highest] = [Math.min(lowest, y), Math.max(highest, y)];
    previousX = x;
    isDrawing = true;
  }
  context.stroke();
  context.setLineDash([]);
  if (last - first < MARKER_BELOW) drawMarkers(context, view, { step, value, first, last, stroke }, toY, isLogarithmic);
}

function drawMarkers(context, view, { step, value, first, last, stroke }, toY, isLogarithmic) {
  context.fillStyle = stroke;
  for (let index = first; index < last; index += 1) {
    const current = value[index];
    if (current === null || current === undefined || !Number.isFinite(current) || (isLogarithmic && current <= 0)) continue;
    context.beginPath();
    context.arc(view.toX(step[index]), toY(current), 2.2, 0, 7);
    context.fill();
  }
}

// layers: [{value, colour}] from the bottom to the top, shares that add up to at most 1.
export function drawStack(context, view, step, layers, height) {
  const toY = linear(0, 1, height, 0);
  let base = new Float64Array(step.length);
  for (const { value, colour } of layers) {
    const top = Float64Array.from(base, (bottom, index) => bottom + (value[index] ?? 0));
    context.fillStyle = themeColours(colour)[colour];
    context.beginPath();
    for (let index = 0; index < step.length; index += 1) context.lineTo(view.toX(step[index]), toY(top[index]));
    for (let index = step.length - 1; index >= 0; index -= 1) context.lineTo(view.toX(step[index]), toY(base[index]));
    context.closePath();
    context.fill();
    base = top;
  }
  drawGrid(context, view, { low: 0, high: 1, toY, isShare: true, height });
}

// Returns the exponential moving average of values; gaps stay gaps. `weight` is that of the past, in [0, 1).
export function smooth(values, weight) {
  let average = null;
  return values.map((value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return null;
    average = average === null ? value : weight * average + (1 - weight) * value;
    return average;
  });
}
