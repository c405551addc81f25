// One alert in words: what, where, since when, why, what to do.

import { actionForm } from "/static/alert_actions.js";
import { count, el, moment, number, share, tag } from "/static/dom.js";

const CAUSES = {
  high_learning_rate: "high learning rate",
  negative_bias: "negative bias",
  bad_initialization: "bad initialization",
  input_shift: "shift of the input",
  upstream_collapse: "collapse of a layer before it",
  unknown: "unknown",
};

export function isOpen(alert) {
  return alert.state !== "resolved";
}

// onChange is called with the alert as the server has it after somebody acted.
export function alertCard(alert, { showRun = false, onChange }) {
  const runLink = el("a", { href: `#/runs/${encodeURIComponent(alert.run_id)}` }, alert.run.name || alert.run_id);
  const title = el("a", { href: `#/alerts/${encodeURIComponent(alert.id)}`, id: `alert-${alert.id}` }, alert.title);
  return el("li", { class: `card ${isOpen(alert) ? alert.severity : "resolved"}`, "data-alert": alert.id },
    el("header", {}, el("h3", {}, title), tag(alert.severity), tag(alert.state), hush(alert)),
    el("p", { class: "message" }, alert.message),
    el("p", { class: "quiet" }, ...origin(alert), showRun ? el("span", {}, " · run ", runLink) : ""),
    el("p", {}, `Cause: ${CAUSES[alert.cause] || alert.cause} (${share(alert.confidence)} sure). `, forecast(alert)),
    remedies(alert),
    taken(alert),
    isOpen(alert) ? actionForm(alert, onChange) : null,
  );
}

// Why nobody is told though it is open.
function hush(alert) {
  if (alert.silenced_by) return tag("silenced");
  if (!alert.muted_by) return null;
  return el("a", { href: `#/alerts/${encodeURIComponent(alert.muted_by)}`, title: "another alert explains this one" }, tag("muted"));
}

function taken({ acknowledged: by }) {
  if (!by) return null;
  return el("p", { class: "quiet" }, `${by.author} has it since `, moment(by.at), by.note ? `: ${by.note}` : "");
}

function origin(alert) {
  const from = [`since step ${count(alert.opened_step)}, `, moment(alert.opened_at)];
  if (isOpen(alert)) return from;
  const why = alert.resolved_reason ? ` (${alert.resolved_reason})` : "";
  return [...from, ` · resolved at step ${count(alert.resolved_step)}${why}`];
}

function forecast({ forecast: ahead }) {
  if (!ahead) return "";
  const range = `${count(ahead.low)} to ${count(ahead.high)}`;
  return `Half of it dead near step ${count(ahead.step)} (${share(ahead.confidence)}: ${range}).`;
}

function remedies(alert) {
  if (!alert.remedies.length) return null;
  const line = (remedy) => {
    const target = remedy.parameter ? ` ${remedy.parameter}` : "";
    const value = remedy.value === null ? "" : ` → ${number(remedy.value)}`;
    const what = el("strong", {}, `${remedy.action.replaceAll("_", " ")}${target}${value}`);
    return el("li", {}, what, remedy.reason ? `: ${remedy.reason}` : "");
  };
  return el("div", {}, el("p", {}, "What to do:"), el("ul", {}, alert.remedies.map(line)));
}
