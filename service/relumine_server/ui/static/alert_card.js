// One alert: title, message, run, cause, forecast, remedies and actions.

import { actionForm } from "/static/alert_actions.js";
import { count, el, moment, number, share, tag } from "/static/dom.js";

const CAUSES = {
  high_learning_rate: "high learning rate",
  negative_bias: "negative bias",
  bad_initialization: "bad initialization",
  input_shift: "shift of the input",
  upstream_collapse: "collapse of an upstream layer",
};

export function isOpen(alert) {
  return alert.state !== "resolved" && alert.state !== "ended";
}

// onChange is called with the alert as the server returns it after an action.
export function alertCard(alert, { showRun = false, onChange }) {
  const runLink = el("a", { href: `#/runs/${encodeURIComponent(alert.run_id)}` }, alert.run.name || alert.run_id);
  const title = el("a", { href: `#/alerts/${encodeURIComponent(alert.id)}`, id: `alert-${alert.id}` }, alert.title);
  return el("li", { class: `card ${alert.state === "resolved" ? "resolved" : alert.severity}`, "data-alert": alert.id },
    el("header", {}, el("h3", {}, title), tag(alert.severity), tag(alert.state), suppressionTag(alert)),
    el("p", { class: "message" }, alert.message),
    el("p", { class: "quiet" }, ...openedAndResolved(alert), showRun ? el("span", {}, " · run ", runLink) : ""),
    el("p", {}, causeText(alert), forecastText(alert)),
    remedyList(alert),
    acknowledgement(alert),
    isOpen(alert) ? actionForm(alert, onChange) : null,
  );
}

// One card for each incident: the alert that explains it, with the others folded below.
export function incidentCards(alerts, options) {
  const incidents = new Map();
  for (const alert of alerts) incidents.set(alert.incident_id, [...(incidents.get(alert.incident_id) || []), alert]);
  return el("ul", { class: "cards" }, [...incidents.values()].map((members) => incidentCard(members, options)));
}

function incidentCard(alerts, options) {
  const [lead, ...others] = [...alerts].sort((a, b) => compare(leadRank(a), leadRank(b)));
  const card = alertCard(lead, options);
  if (!others.length) return card;
  const inOrder = others.sort((a, b) => a.opened_step - b.opened_step || a.layer_id - b.layer_id);
  const item = (alert) => el("li", { "data-alert": alert.id },
    el("a", { href: `#/alerts/${encodeURIComponent(alert.id)}`, id: `alert-${alert.id}` }, alert.title), " ",
    tag(alert.severity), " ", tag(alert.state), ` since step ${count(alert.opened_step)}`);
  const noun = others.length === 1 ? "alert" : "alerts";
  card.append(el("details", {},
    el("summary", {}, `${count(others.length)} more ${noun} with this cause`),
    el("ul", {}, inOrder.map(item)),
  ));
  return card;
}

// As in the API: an alert that holds, is not inhibited or starved, and was the first to begin explains the others.
function leadRank(alert) {
  const flags = [alert.state === "resolved", alert.inhibited_by !== null, alert.cause === "upstream_collapse", alert.layer_id === 0];
  return [...flags.map(Number), alert.opened_step, alert.layer_id];
}

function compare(a, b) {
  const index = a.findIndex((value, position) => value !== b[position]);
  return index < 0 ? 0 : a[index] - b[index];
}

// The reason why an open alert sends no notifications.
function suppressionTag(alert) {
  if (alert.silenced_by) return tag("silenced");
  if (!alert.inhibited_by) return null;
  return el("a", { href: `#/alerts/${encodeURIComponent(alert.inhibited_by)}`, title: "another alert explains this one" }, tag("inhibited"));
}

function acknowledgement({ acknowledged }) {
  if (!acknowledged) return null;
  const note = acknowledged.note ? `: ${acknowledged.note}` : "";
  return el("p", { class: "quiet" }, `Acknowledged by ${acknowledged.author}, `, moment(acknowledged.at), note);
}

function openedAndResolved(alert) {
  const opened = [`since step ${count(alert.opened_step)}, `, moment(alert.opened_at)];
  if (isOpen(alert)) return opened;
  if (alert.state === "ended") return [...opened, ` · the run ended at step ${count(alert.ended_step)} with it open`];
  const reason = alert.resolved_reason ? ` (${alert.resolved_reason})` : "";
  return [...opened, ` · resolved at step ${count(alert.resolved_step)}${reason}`];
}

// Nothing where the cause is unknown: the message says what was measured.
function causeText({ cause, confidence }) {
  return cause === "unknown" ? "" : `Cause: ${CAUSES[cause] || cause} (confidence ${share(confidence)}). `;
}

function forecastText({ forecast }) {
  if (!forecast) return "";
  const range = `${count(forecast.low)} to ${count(forecast.high)}`;
  return `Forecast: half of the layer dead near step ${count(forecast.step)} (${share(forecast.confidence)} interval: ${range}).`;
}

function remedyList(alert) {
  if (!alert.remedies.length) return null;
  const item = (remedy) => {
    const parameter = remedy.parameter ? ` ${remedy.parameter}` : "";
    const value = remedy.value === null ? "" : ` → ${number(remedy.value)}`;
    const action = el("strong", {}, `${remedy.action}${parameter}${value}`);
    return el("li", {}, action, remedy.reason ? `: ${remedy.reason}` : "", el("pre", {}, remedy.code));
  };
  return el("div", {}, el("p", {}, "Remedies:"), el("ul", {}, alert.remedies.map(item)));
}
