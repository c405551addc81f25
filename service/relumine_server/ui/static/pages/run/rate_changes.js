// Steps at which the learning rate jumped, as dashed lines in the lane of the loss.

import { count, number } from "../../core/format.js";
import { themeColours } from "../../core/states.js";

const JUMP = 2; // a factor between two points; schedules that change slowly have none
const MOST_LINES = 30; // of a schedule that jumps all the time the largest jumps are drawn
const NEAR_PX = 5;

// Returns [{step, from, to}] in the order of the steps: where the rate rose, or fell, by more than JUMP.
export function rateChanges(step, rate) {
  const changes = [];
  let previous = null;
  rate.forEach((value, index) => {
    if (value === null || !(value > 0)) return;
    if (previous !== null && ratio(previous, value) > JUMP) changes.push({ step: step[index], from: previous, to: value });
    previous = value;
  });
  if (changes.length <= MOST_LINES) return changes;
  const largest = [...changes].sort((a, b) => ratio(b.from, b.to) - ratio(a.from, a.to)).slice(0, MOST_LINES);
  return largest.sort((a, b) => a.step - b.step);
}

function ratio(a, b) {
  return Math.max(a / b, b / a);
}

export function drawRateChanges(context, view, changes, height) {
  context.strokeStyle = themeColours("accent").accent;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.beginPath();
  for (const { step } of changes) {
    if (step < view.from || step > view.to) continue;
    const x = Math.round(view.toX(step)) + 0.5;
    context.moveTo(x, 0);
    context.lineTo(x, height);
  }
  context.stroke();
  context.setLineDash([]);
}

// Returns the words for the change whose line is under the pointer, "" for none.
export function describeRateChange(changes, view, step) {
  const x = view.toX(step);
  const distance = (change) => Math.abs(view.toX(change.step) - x);
  const nearest = changes.reduce((best, change) => (best && distance(best) <= distance(change) ? best : change), null);
  if (nearest === null || distance(nearest) > NEAR_PX) return "";
  return `learning rate ${number(nearest.from)} → ${number(nearest.to)} at step ${count(nearest.step)}`;
}
