// One run in the list, and the head of the list.

import { shareSparkline } from "../../charts/sparkline.js";
import { runAddress } from "../../core/address.js";
import { cellClass, el, runLabel } from "../../core/elements.js";
import { ago, count, duration, number, share } from "../../core/format.js";
import { badge } from "../../core/states.js";

// `sort` is the name of the order in the API; `first` the direction that a first click gives.
const COLUMNS = [
  { title: "Health", sort: "health", first: "", cell: ({ run }) => badge(run.health, { title: run.health_reason }) },
  { title: "Run", sort: "name", first: "", name: "run", cell: ({ run }) => runLink(run) },
  {
    title: "Project",
    sort: "project",
    first: "",
    name: "hide-small",
    cell: ({ run }) => [filterLink("project", run.project), run.group ? [" / ", filterLink("group", run.group)] : ""],
  },
  { title: "Status", sort: "status", first: "", cell: ({ run }) => badge(run.status) },
  {
    title: "Layers lost",
    number: true,
    sort: "layers_dead",
    first: "-",
    cell: ({ run }) => (run.layers ? `${count(run.layers_dead)} of ${count(run.layers)}` : "–"),
  },
  {
    title: "Worst layer",
    sort: "lost_fraction",
    first: "-",
    name: "hide-small worst",
    cell: ({ run, trace }) => [sparkline(trace), el("span", { class: "quiet" }, share(run.lost_fraction))],
  },
  { title: "Loss", number: true, sort: "final_loss", first: "", name: "hide-small", cell: ({ run }) => number(run.final_loss) },
  { title: "Step", number: true, sort: "last_step", first: "-", cell: ({ run }) => count(run.last_step) },
  {
    title: "Steps/s",
    number: true,
    sort: "steps_per_s",
    first: "-",
    name: "hide-small",
    cell: ({ run }) => (run.steps_per_s === null ? "–" : number(Number(run.steps_per_s.toPrecision(3)))),
  },
  {
    title: "Duration",
    number: true,
    sort: "duration_s",
    first: "-",
    name: "hide-small",
    cell: ({ run }) => duration(run.duration_s),
  },
  {
    title: "Open alerts",
    number: true,
    sort: "open_alerts",
    first: "-",
    name: "hide-small",
    cell: ({ run }) => alerts(run),
  },
  { title: "Started", number: true, sort: "created_at", first: "-", cell: ({ run }) => ago(run.started_at || run.created_at) },
];

export const COLUMN_COUNT = COLUMNS.length;

// onSelect(ids, isSelected) is called when the run was selected or not any more.
export function runRow(item, { onSelect }) {
  const { run } = item;
  const box = el("input", {
    type: "checkbox",
    id: `select-${run.run_id}`,
    "data-ids": run.run_id,
    "aria-label": `Select ${runLabel(run)}`,
    change: () => onSelect([run.run_id], box.checked),
  });
  const cells = COLUMNS.map((column) =>
    el("td", { class: cellClass(column), "data-title": column.number ? column.title : null }, column.cell(item)),
  );
  return el("tr", {}, el("td", { class: "select" }, box), cells);
}

// onSort is called with the name of the order that a click asks for.
export function tableHead(sort, onSort) {
  return el(
    "tr",
    {},
    el("td", { class: "select" }),
    COLUMNS.map((column) => headCell(column, sort, onSort)),
  );
}

function headCell(column, sort, onSort) {
  if (!column.sort) return el("th", { scope: "col", class: cellClass(column) }, column.title);
  const isSorted = sort.replace("-", "") === column.sort;
  const isDescending = sort.startsWith("-");
  const next = isSorted ? `${isDescending ? "" : "-"}${column.sort}` : `${column.first}${column.sort}`;
  const arrow = isSorted ? (isDescending ? " ↓" : " ↑") : "";
  const order = isSorted ? (isDescending ? "descending" : "ascending") : null;
  return el(
    "th",
    { scope: "col", class: cellClass(column), "aria-sort": order },
    el("button", { type: "button", id: `sort-${column.sort}`, click: () => onSort(next) }, column.title, arrow),
  );
}

function runLink(run) {
  return el("a", { href: runAddress(run.run_id), id: `run-${run.run_id}` }, runLabel(run));
}

function filterLink(name, value) {
  return el("a", { href: `#/runs?${name}=${encodeURIComponent(value)}`, class: "quiet" }, value);
}

function sparkline(trace) {
  // Without a value there is no line: the line at 0 means that nothing is lost.
  if (!trace || trace.lost_fraction.every((value) => value === null)) return null;
  const last = trace.lost_fraction.findLast((value) => value !== null) ?? null;
  return shareSparkline(
    trace.step,
    trace.lost_fraction,
    `${share(last)} of the worst layer's units lost at step ${count(trace.step.at(-1))}`,
  );
}

function alerts(run) {
  const { critical, warning, info, open } = run.alert_counts;
  const all = critical + warning + info;
  return all ? `${count(open)} of ${count(all)}` : "–";
}
