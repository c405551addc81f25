// The picture of a backtest: a lane per run; above the line what the thresholds in force raise, below it what those
// tried raise. A line joins the two marks of one problem.

import { Timeline } from "../../charts/timeline.js";
import { runAddress } from "../../core/address.js";
import { el, runLabel } from "../../core/elements.js";
import { count } from "../../core/format.js";
import { themeColours, words } from "../../core/states.js";

const LANE_PX = 52;
const MIDDLE_PX = LANE_PX / 2;
const MARK_PX = 20; // the height of .mark
const SIGNS = { critical: "!", warning: "▲", info: "i" };
const POLICIES = { in_force: "in force", proposed: "tried" };

export function backtestPicture(result, lastSteps, signal) {
  const timeline = new Timeline({
    label: "Problems of each run, above the line under the thresholds in force, below it under those tried",
    signal,
  });
  const ends = result.runs.map((run) => endOf(run, lastSteps));
  timeline.setLanes(result.runs.map((run, index) => lane(run, ends[index])));
  timeline.setDomain(0, Math.max(1, ...ends) * 1.02);
  return el("figure", { class: "backtest" }, legend(), timeline.root);
}

function legend() {
  const signs = Object.entries(SIGNS).map(([severity, sign]) =>
    el("span", {}, el("span", { class: `sign ${severity}`, "aria-hidden": "true" }, sign), severity),
  );
  return el(
    "figcaption",
    { class: "legend" },
    "Above the line: in force. Below it: tried. ",
    signs,
    el("span", {}, "framed: differs"),
  );
}

// Returns the last step of a run, as far as it is known.
function endOf(run, lastSteps) {
  const steps = run.problems.flatMap(({ in_force: inForce, proposed }) => [inForce, proposed]).filter(Boolean);
  return Math.max(lastSteps.get(run.run_id) || 0, ...steps.map((problem) => problem.dead_step ?? problem.first_step));
}

function lane(run, end) {
  const title = el("a", { class: "row", href: runAddress(run.run_id), title: runLabel(run) }, runLabel(run));
  const note = el("span", { class: "quiet row" }, run.problems.length ? counts(run) : "nothing raised");
  return {
    key: run.run_id,
    height: LANE_PX,
    title: [title, note],
    draw: (context, view) => drawLane(context, view, run, end),
    hover: (step, y) => hoverText(run, step, y),
    marks: marksOf(run),
  };
}

function counts(run) {
  const raised = (policy) => run.problems.filter((problem) => problem[policy]).length;
  return `${count(raised("in_force"))} in force, ${count(raised("proposed"))} tried`;
}

function drawLane(context, view, run, end) {
  const colours = themeColours("quiet", "line", "accent");
  context.fillStyle = colours.quiet;
  context.fillRect(view.toX(0), MIDDLE_PX, view.toX(end) - view.toX(0), 1);
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.5;
  for (const { in_force: inForce, proposed } of run.problems) {
    if (!inForce || !proposed) continue;
    context.beginPath();
    context.moveTo(view.toX(inForce.first_step), MIDDLE_PX - 5);
    context.lineTo(view.toX(proposed.first_step), MIDDLE_PX + 5);
    context.stroke();
  }
}

// Problems of one step and one policy are one mark, of the highest severity.
function marksOf(run) {
  return Object.keys(POLICIES).flatMap((policy) => {
    const bySteps = Map.groupBy(
      run.problems.filter((problem) => problem[policy]),
      (problem) => problem[policy].first_step,
    );
    return [...bySteps].map(([step, problems]) => ({ step, node: mark(run, policy, step, problems) }));
  });
}

function mark(run, policy, step, problems) {
  const severities = problems.map((problem) => problem[policy].severity);
  const severity = ["critical", "warning", "info"].find((candidate) => severities.includes(candidate));
  const isOther = problems.every((problem) => problem.in_force?.first_step !== problem.proposed?.first_step);
  const text = `${POLICIES[policy]}, step ${count(step)}: ${problems.map(problemText).join(", ")}`;
  const node = el(
    "a",
    {
      class: `mark ${severity}${isOther ? " differs" : ""}`,
      href: runAddress(run.run_id),
      title: text,
      "aria-label": `${runLabel(run)}, ${text}`,
    },
    SIGNS[severity],
  );
  node.style.top = `${policy === "in_force" ? MIDDLE_PX - 4 - MARK_PX : MIDDLE_PX + 4}px`;
  return node;
}

function problemText(problem) {
  return `${problem.layer_id ? problem.layer : "the run"} ${words(problem.kind)}`;
}

function hoverText(run, step, y) {
  const policy = y < MIDDLE_PX ? "in_force" : "proposed";
  const open = run.problems.filter((problem) => problem[policy] && problem[policy].first_step <= step);
  if (!open.length) return `step ${count(step)}, ${POLICIES[policy]}: nothing raised so far`;
  return `step ${count(step)}, ${POLICIES[policy]}: raised so far\n${open.slice(0, 12).map(problemText).join("\n")}`;
}
