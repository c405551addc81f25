// The heat map of layers over steps: the share of lost units, in the colour of the state that most of them are in.

import { hatch, mix, rgb } from "./canvas.js";
import { lowerBound, nearest } from "./scale.js";
import { count, share } from "../core/format.js";
import { UNIT_STATES, themeColours } from "../core/states.js";

const LEAST_SHADE = 0.3; // of a share just above 0, so that it shows
const NEIGHBOURS = 8; // records on either side by which a usual gap is known
const FACTOR = 3; // a gap this many times as long as usual is a pause
const LONGEST_INTERVAL = 100; // steps; the SDK samples at least every hundredth step

// rows: [{traces: [trace, …]}], one or several layers a row. Draws within `height` pixels. From the step `divergedFrom`
// on, if there is one, values are not finite, and no state of a unit means anything.
export function drawHeatMap(context, view, rows, height, divergedFrom = null) {
  const colours = themeColours("healthy", "no-data", "diverged", ...UNIT_STATES.map(({ colour }) => colour));
  const shades = UNIT_STATES.map(({ colour }) => shadesBetween(rgb(colours.healthy), rgb(colours[colour])));
  const columns = Math.max(1, Math.floor(view.width));
  const rowHeight = height / Math.max(1, rows.length);
  rows.forEach((row, index) => {
    const top = Math.round(index * rowHeight);
    const bottom = Math.max(top + 1, Math.round((index + 1) * rowHeight) - (rowHeight >= 4 ? 1 : 0));
    hatch(context, colours["no-data"], 0, top, view.width, bottom - top);
    const cells = rowCells(row.traces, view, columns);
    drawRow(context, cells, { healthy: colours.healthy, shades }, top, bottom - top);
  });
  if (divergedFrom === null || divergedFrom > view.to) return;
  const left = Math.max(0, view.toX(divergedFrom));
  context.globalAlpha = 0.75;
  context.fillStyle = colours.diverged;
  context.fillRect(left, 0, view.width - left, height);
  context.globalAlpha = 1;
}

function shadesBetween(from, to) {
  return Array.from({ length: 101 }, (_, percent) => {
    const amount = percent === 0 ? 0 : LEAST_SHADE + (1 - LEAST_SHADE) * (percent / 100);
    return `rgb(${mix(from, to, amount).join(" ")})`;
  });
}

// Returns one number per pixel column: -1 without data, else 1000 × the index of the state + the lost share in percent.
// A column shows its worst record; a record is shown until the next one, as long as sampling did not pause.
function rowCells(traces, view, columns) {
  const cells = new Int32Array(columns).fill(-1);
  const scale = view.width / (view.to - view.from); // as in view.toX(), which would be called for every record
  for (const trace of traces) {
    const { step } = trace;
    const values = cellsOf(trace);
    const last = Math.min(step.length, lowerBound(step, view.to) + 1);
    for (let index = Math.max(0, lowerBound(step, view.from) - 1); index < last; index += 1) {
      const value = values[index];
      if (value < 0) continue;
      const next = index + 1 < step.length ? step[index + 1] : view.to;
      const end = isPause(step, index, next) ? step[index] : next;
      const left = Math.max(0, Math.floor((step[index] - view.from) * scale));
      const right = Math.min(columns, Math.max(left + 1, Math.floor((end - view.from) * scale)));
      for (let column = left; column < right; column += 1) {
        if (value % 1000 >= cells[column] % 1000 || cells[column] < 0) cells[column] = value;
      }
    }
  }
  return cells;
}

const cellsBySteps = new WeakMap(); // by the array of steps, which is another one where records were left out

// Returns the cells of all records of a trace. A live update adds a few to thousands that have not changed.
function cellsOf(trace) {
  if (!cellsBySteps.has(trace.step)) cellsBySteps.set(trace.step, []);
  const cells = cellsBySteps.get(trace.step);
  for (let index = cells.length; index < trace.step.length; index += 1) cells.push(cellOf(trace, index));
  return cells;
}

function cellOf(trace, index) {
  let total = 0;
  let worst = 0;
  let worstShare = -1;
  let isKnown = false;
  for (let state = 0; state < UNIT_STATES.length; state += 1) {
    const value = trace[UNIT_STATES[state].column][index];
    if (value === null || value === undefined) continue;
    isKnown = true;
    total += value;
    if (value > worstShare) {
      worstShare = value;
      worst = state;
    }
  }
  if (!isKnown && (trace.active_rate[index] ?? null) === null) return -1;
  return worst * 1000 + (total > 0 ? Math.max(1, Math.min(100, Math.round(total * 100))) : 0);
}

// Returns true where sampling paused between a record and the next one, or the end of what is shown.
function isPause(steps, index, next) {
  const distance = next - steps[index];
  if (distance <= LONGEST_INTERVAL) return false;
  const gapBefore = index > 0 ? steps[index] - steps[index - 1] : 0;
  const gapAfter = index + 2 < steps.length ? steps[index + 2] - steps[index + 1] : 0;
  if (Math.min(gapBefore, gapAfter) * FACTOR >= distance) return false; // most records of a long run, without a sort
  return distance > longestGapAt(steps, index);
}

// Returns the number of steps behind a record after which sampling has paused: more than the SDK ever leaves out, or than
// is usual around it. The past of a long run comes in fewer points than what a live update adds.
export function longestGapAt(steps, index) {
  if (steps.length <= NEIGHBOURS) return Math.max(LONGEST_INTERVAL, FACTOR * usualGap(steps));
  const gapBefore = usualGap(steps.slice(Math.max(0, index - NEIGHBOURS), index + 1));
  const gapAfter = usualGap(steps.slice(index + 1, index + 2 + NEIGHBOURS));
  return Math.max(LONGEST_INTERVAL, FACTOR * Math.max(gapBefore, gapAfter));
}

// Returns the median distance of the steps, 0 where there is none.
export function usualGap(steps) {
  const gaps = [];
  for (let index = 1; index < steps.length; index += 1) gaps.push(steps[index] - steps[index - 1]);
  return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
}

// Draws runs of equal cells as one rectangle each.
function drawRow(context, cells, { healthy, shades }, top, height) {
  let start = 0;
  for (let column = 1; column <= cells.length; column += 1) {
    if (column < cells.length && cells[column] === cells[start]) continue;
    const value = cells[start];
    if (value >= 0) {
      context.fillStyle = value % 1000 === 0 ? healthy : shades[Math.floor(value / 1000)][value % 1000];
      context.fillRect(start, top, column - start, height);
    }
    start = column;
  }
}

// Returns the words for the record of a layer that is nearest to a step.
export function describeRecord(trace, step) {
  const index = nearest(trace.step, step);
  if (index < 0) return "no data";
  const parts = UNIT_STATES.map(({ name, column }) => [name, trace[column][index]])
    .filter(([, value]) => value)
    .map(([name, value]) => `${share(value)} ${name}`);
  const active = trace.active_rate[index];
  const rate = active === null || active === undefined ? "" : `, active rate ${share(active)}`;
  return `step ${count(trace.step[index])}: ${parts.join(", ") || "no unit lost"}${rate}`;
}
