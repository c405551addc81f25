// The server: whether it can work, its version, its database and disk, and figures of its work.

import { ApiError, get, path } from "../../core/api.js";
import { el, facts, replace, updateList } from "../../core/elements.js";
import { count, counted, duration } from "../../core/format.js";
import { poll } from "../../core/poll.js";
import { badge } from "../../core/states.js";
import { messageOf } from "./actions.js";
import { refreshTimes, since } from "./times.js";

const POLL_MS = 5000;
const LATE_S = 60; // a delivery that waits longer than this is late
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export async function showServer({ root, signal, access }) {
  const state = el("p", { role: "status" });
  const notes = el("div");
  const panels = el("div", { class: "panels" });
  replace(root, el("h1", {}, "Server"), state, notes, panels, metricsLink(access));
  const mayRead = access.canManage && !access.project;
  if (!mayRead)
    replace(notes, el("p", { class: "quiet" }, "To see its version, database and figures takes an admin key of all projects."));
  await poll(async () => {
    await showReadiness(state, signal);
    if (mayRead) await showFigures(notes, panels, signal);
    refreshTimes(root);
    return POLL_MS;
  }, signal);
}

function metricsLink(access) {
  if (access.project) return null;
  return el("p", { class: "quiet" }, "For Prometheus: ", el("a", { href: "metrics" }, "/metrics"));
}

async function showReadiness(parent, signal) {
  let [name, text] = ["ready", "The server accepts uploads."];
  try {
    await get(path("..", "readyz"), { signal }); // /readyz is beside /v1
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // the banner of the poll reports it
    [name, text] = ["not ready", messageOf(error)];
  }
  const version = `${name} ${text}`;
  if (parent.dataset.version === version) return;
  parent.dataset.version = version;
  replace(parent, badge(name), " ", text);
}

async function showFigures(notes, panels, signal) {
  const server = await get(path("server"), { signal });
  updateList(
    notes,
    problemsOf(server),
    (text) => text,
    (text) => el("p", { class: "notice" }, badge("warning"), " ", text),
  );
  updateList(panels, figuresOf(server), ({ title }) => title, panel);
}

// Returns a sentence for each thing that needs attention.
function problemsOf(server) {
  const problems = [];
  if (server.oldest_delivery_due_s > LATE_S) {
    const late = duration(server.oldest_delivery_due_s);
    problems.push(`Notifications are late: the oldest of ${count(server.deliveries_due)} was due ${late} ago.`);
  }
  return problems;
}

const DATABASES = { postgresql: "PostgreSQL", sqlite: "SQLite" };

// The figures of each panel, as pairs of a name and a text or a time.
const PANELS = {
  Server: (server) => [
    ["Version", server.version],
    ["Running for", duration(server.uptime_s)],
  ],
  Database: ({ database }) => [
    ["Kind", DATABASES[database.kind] || database.kind],
    ["Schema", database.schema_revision],
    ["Size", bytes(database.size_bytes)],
    ["Free on its disk", bytes(database.free_bytes)],
  ],
  Runs: (server) => [
    ["All", count(server.runs)],
    ["Training now", count(server.running)],
    ["Sampled steps", count(server.sampled_steps)],
  ],
  "In the last hour": (server) => [
    ["Uploads", count(server.uploads_last_hour)],
    ["Records", count(server.records_last_hour)],
  ],
  Waiting: (server) => [
    ["Writes", count(server.writes_waiting)],
    ["Notifications", count(server.deliveries_waiting)],
    ["Of these due now", count(server.deliveries_due)],
  ],
  Maintenance: (server) => [
    ["Last round", { time: server.last_maintenance_at }],
    ["To compact", counted(server.runs_to_compact, "run")],
    ["To delete", counted(server.runs_to_delete, "run")],
  ],
};

function figuresOf(server) {
  return Object.entries(PANELS).map(([title, pairsOf]) => ({ title, pairs: pairsOf(server) }));
}

function panel({ title, pairs }) {
  const entries = pairs.map(([name, value]) => [name, typeof value === "object" ? since(value.time) : value]);
  return el("section", { class: "card over", "aria-label": title }, el("h2", {}, title), facts(entries));
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  const index = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  const amount = value / 1024 ** index;
  return `${amount < 10 && index ? amount.toFixed(1) : count(Math.round(amount))} ${UNITS[index]}`;
}
