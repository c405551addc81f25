// What became of each run: health, lost layers, first alert, last loss.

import { alertAddress, runAddress } from "../../core/address.js";
import { el, runLabel, table } from "../../core/elements.js";
import { count, duration, number } from "../../core/format.js";
import { CAUSES, badge } from "../../core/states.js";
import { withSwatch } from "./slots.js";

const COLUMNS = [
  { title: "Run", name: "run", cell: runCell },
  { title: "Health", cell: ({ overview: { run } }) => badge(run.health, { title: run.health_reason }) },
  { title: "Status", cell: ({ overview: { run } }) => badge(run.status) },
  { title: "Layers dead", number: true, cell: ({ overview: { run } }) => `${count(run.layers_dead)} of ${count(run.layers)}` },
  { title: "First alert", cell: ({ overview }) => firstAlertCell(firstAlert(overview)) },
  { title: "At step", number: true, cell: ({ overview }) => count(firstAlert(overview)?.opened_step) },
  { title: "Cause", cell: ({ overview }) => causeOf(firstAlert(overview)) },
  { title: "Last loss", number: true, cell: ({ overview: { run } }) => number(run.final_loss) },
  { title: "Last step", number: true, cell: ({ overview: { run } }) => count(run.last_step) },
  { title: "Duration", number: true, cell: ({ overview: { run } }) => duration(run.duration_s) },
];

export function summaryTable(entries) {
  const node = table("What became of each run.", COLUMNS, entries);
  node.classList.add("compared");
  return node;
}

function runCell(entry) {
  const label = runLabel(entry.overview.run);
  return withSwatch(entry, el("a", { href: runAddress(entry.id), title: label }, label));
}

// The first alert of warning or above; an alert of severity info is the first only where there is no other.
export function firstAlert({ alerts }) {
  const serious = alerts.filter(({ severity }) => severity !== "info");
  return [...(serious.length ? serious : alerts)].sort((a, b) => a.opened_step - b.opened_step || a.layer_id - b.layer_id)[0];
}

function firstAlertCell(alert) {
  return alert ? el("a", { href: alertAddress(alert.id) }, alert.title) : el("span", { class: "quiet" }, "none");
}

function causeOf(alert) {
  return alert ? CAUSES[alert.cause] || alert.cause : "–";
}
