// A backtest: what other thresholds would have raised on the newest stored runs of a project, as a sentence, a picture
// and a table.

import { get, path, post, withQuery } from "../../core/api.js";
import { changeQuery, layerAddress, runAddress } from "../../core/address.js";
import { download, el, plain, replace, runLabel } from "../../core/elements.js";
import { count, counted } from "../../core/format.js";
import { badge, words } from "../../core/states.js";
import { backtestPicture } from "./backtest_picture.js";
import { liveTable } from "./live_table.js";

const LIMITS = [5, 10, 20]; // runs of one request; the server allows 20

export class Backtest {
  constructor({ project, signal, query }) {
    Object.assign(this, { project, signal, onlyDifferent: query.get("all") !== "1" });
    this.select = el(
      "select",
      { id: "backtest-runs" },
      LIMITS.map((limit) => el("option", { value: limit, selected: limit === 10 }, `newest ${limit} runs`)),
    );
    this.limit = el("label", { class: "inline" }, "on the", this.select);
    this.root = el("div", { id: "backtest-result", tabindex: "-1" });
  }

  async run(thresholds) {
    replace(
      this.root,
      el(
        "p",
        { class: "notice", role: "status" },
        "The stored runs are being analyzed under both policies; long runs take up to a minute.",
      ),
    );
    try {
      const [result, runs] = await Promise.all([
        post(path("policy", "backtest"), { project: this.project, thresholds, limit: Number(this.select.value) }),
        get(withQuery(path("runs"), { project: this.project, limit: 50 }), { signal: this.signal }),
      ]);
      this.show(result, new Map(runs.items.map((run) => [run.run_id, run.last_step])));
    } catch (error) {
      replace(this.root);
      throw error;
    }
  }

  show(result, lastSteps) {
    this.rows = result.runs.flatMap((run) => run.problems.map((problem) => ({ run, problem })));
    const keyOf = ({ run, problem }) => `${run.run_id} ${problem.layer_id} ${problem.kind}`;
    this.table = liveTable("Problems under both policies", COLUMNS, keyOf);
    this.tableHolder = el("div");
    const hasProblems = this.rows.length > 0;
    replace(
      this.root,
      el("h3", {}, "What would have been raised"),
      summary(result),
      hasProblems ? backtestPicture(result, lastSteps, this.signal) : null,
      hasProblems ? this.controls() : null,
      this.tableHolder,
    );
    this.showTable();
    this.root.focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "nearest" });
  }

  controls() {
    const change = () => this.toggle(box.checked);
    const box = el("input", { type: "checkbox", id: "all-problems", checked: !this.onlyDifferent, change });
    const click = () => download(`backtest-${this.project}.csv`, csv(this.rows));
    const save = el("button", { type: "button", class: "small", click }, "Download as CSV");
    return el("div", { class: "actions" }, el("label", { class: "inline" }, box, "Also problems that stay the same"), save);
  }

  toggle(isAll) {
    this.onlyDifferent = !isAll;
    changeQuery({ all: isAll ? "1" : null });
    this.showTable();
  }

  showTable() {
    const rows = this.onlyDifferent ? this.rows.filter(({ problem }) => differenceOf(problem) !== "same step") : this.rows;
    this.table.update(rows);
    const empty = this.rows.length ? el("p", { class: "quiet" }, "No problem differs.") : null;
    replace(this.tableHolder, rows.length ? this.table.root : empty);
  }
}

function summary({ totals, runs, left_out: leftOut, more_runs: hasMore }) {
  const parts = [
    [totals.only_proposed, "new"],
    [totals.only_in_force, "no longer raised"],
    [totals.earlier, "earlier"],
    [totals.later, "later"],
    [totals.same_step, "at the same step"],
  ]
    .filter(([value]) => value)
    .map(([value, text]) => `${count(value)} ${text}`);
  const inForce = `${counted(totals.in_force, "problem")} under the thresholds in force`;
  const figures = `On ${counted(runs.length, "run")}: ${inForce}, ${count(totals.proposed)} under those tried`;
  const notes = [];
  if (leftOut.length) notes.push(`${counted(leftOut.length, "run")} did not fit the limit of one request. `);
  if (hasMore) notes.push("There are older runs. ");
  const partial = runs.filter((run) => !run.complete).length;
  if (partial) notes.push(`${counted(partial, "run")} was analyzed in part. `.replace("runs was", "runs were"));
  const inexact = runs.filter((run) => !run.exact).length;
  if (inexact)
    notes.push(`${counted(inexact, "run")} could not be replayed exactly: statistics per unit were thinned or a layer changed. `);
  return [
    el("p", { role: "status" }, `${figures}${parts.length ? `: ${parts.join(", ")}` : ""}.`),
    notes.length ? el("p", { class: "quiet" }, notes) : null,
  ];
}

const COLUMNS = [
  { title: "Run", name: "name", isHead: true, cell: ({ run }) => el("a", { href: runAddress(run.run_id) }, runLabel(run)) },
  {
    title: "Layer",
    name: "project",
    cell: ({ run, problem }) =>
      problem.layer_id ? el("a", { href: layerAddress(run.run_id, problem.layer_id) }, problem.layer) : "the run",
  },
  { title: "Problem", cell: ({ problem }) => words(problem.kind) },
  { title: "In force", cell: ({ problem }) => raised(problem.in_force) },
  { title: "Tried", cell: ({ problem }) => raised(problem.proposed) },
  { title: "Difference", cell: ({ problem }) => differenceOf(problem) },
];

function raised(problem) {
  if (!problem) return el("span", { class: "quiet" }, "not raised");
  const dead = problem.dead_step === null ? null : el("span", { class: "quiet under" }, `dead at ${count(problem.dead_step)}`);
  return [`step ${count(problem.first_step)} `, badge(problem.severity), dead];
}

export function differenceOf({ in_force: inForce, proposed }) {
  if (!inForce) return "new";
  if (!proposed) return "no longer raised";
  const delay = proposed.first_step - inForce.first_step;
  if (!delay)
    return inForce.severity === proposed.severity
      ? "same step"
      : `same step, ${proposed.severity} instead of ${inForce.severity}`;
  return `${counted(Math.abs(delay), "step")} ${delay < 0 ? "earlier" : "later"}`;
}

// A cell that begins like a formula would be one in a spreadsheet.
function quoted(value) {
  const text = plain(String(value ?? "")).replaceAll('"', '""');
  return `"${text.replace(/^[=+\-@]/, "'$&")}"`;
}

function csv(rows) {
  const steps = ["in_force_step", "in_force_severity", "tried_step", "tried_severity"];
  const head = ["run_id", "run", "layer_id", "layer", "problem", ...steps, "difference"];
  const lines = rows.map(({ run, problem }) => {
    const { layer_id: layerId, layer, kind, in_force: inForce, proposed } = problem;
    const raised = [inForce?.first_step, inForce?.severity, proposed?.first_step, proposed?.severity];
    return [run.run_id, run.name, layerId, layer, kind, ...raised, differenceOf(problem)];
  });
  return `${[head, ...lines].map((line) => line.map(quoted).join(",")).join("\r\n")}\r\n`;
}
