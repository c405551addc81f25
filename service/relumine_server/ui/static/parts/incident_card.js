// One incident: its leading alert's title and message, the fix as code, the other alerts folded, and the actions.

import { alertAddress } from "../core/address.js";
import { copyButton, el } from "../core/elements.js";
import { ago, count, counted } from "../core/format.js";
import { CAUSES, badge } from "../core/states.js";
import { actionForm } from "./action_form.js";
import { isOpen } from "./outcome.js";

// Returns the alerts by incident, open incidents first, then the latest: [[lead, …others], …].
export function byIncident(alerts) {
  const incidents = new Map();
  for (const alert of alerts) incidents.set(alert.incident_id, [...(incidents.get(alert.incident_id) || []), alert]);
  const sorted = [...incidents.values()].map((members) => members.sort((a, b) => compare(leadRank(a), leadRank(b))));
  return sorted.sort((a, b) => Number(b.some(isOpen)) - Number(a.some(isOpen)) || b[0].opened_step - a[0].opened_step);
}

// As in the API: an alert that holds, is not inhibited or starved, and was the first to begin explains the others.
function leadRank(alert) {
  const flags = [
    alert.state === "resolved",
    alert.inhibited_by !== null,
    alert.cause === "upstream_collapse",
    alert.layer_id === 0,
  ];
  return [...flags.map(Number), alert.opened_step, alert.layer_id];
}

function compare(a, b) {
  const index = a.findIndex((value, position) => value !== b[position]);
  return index < 0 ? 0 : a[index] - b[index];
}

// onChange is called after an action. Without canWrite there are no actions.
export function incidentCard([lead, ...others], { canWrite, onChange, more = null }) {
  const members = [lead, ...others];
  const open = members.filter(isOpen);
  const title = el("a", { href: alertAddress(lead.id), id: `alert-${lead.id}` }, lead.title);
  const side = el("div", {}, fix(lead));
  const actions =
    canWrite && open.length
      ? el("details", {}, el("summary", {}, "Acknowledge, resolve or silence"), actionForm(open, onChange))
      : null;
  return el(
    "article",
    { class: `card incident ${open.length ? worst(open) : "over"}`, "data-alert": lead.id },
    el(
      "div",
      {},
      el("h2", {}, badge(worst(members)), " ", title),
      el("p", { class: "quiet" }, lifecycle(lead)),
      el("p", { class: "message text", tabindex: "0" }, sentence(lead)),
      othersList(others),
    ),
    side,
    actions || more ? el("div", { class: "actions wide" }, actions, more) : null,
  );
}

function worst(alerts) {
  return ["critical", "warning", "info"].find((severity) => alerts.some((alert) => alert.severity === severity));
}

// The message without what its title says already: severity and run, for people who read it elsewhere.
export function sentence({ message }) {
  return message.replace(/^(CRITICAL|WARNING|INFO) .*? · /, "");
}

// The life of an alert in a sentence.
export function lifecycle(alert) {
  const parts = [`Since step ${count(alert.opened_step)} (`, ago(alert.opened_at), ")"];
  if (alert.dead_step !== null) parts.push(`, dead at step ${count(alert.dead_step)}`);
  if (alert.acknowledged)
    parts.push(
      `, acknowledged by ${alert.acknowledged.author} `,
      ago(alert.acknowledged.at),
      alert.acknowledged.note ? `: ${alert.acknowledged.note}` : "",
    );
  if (alert.state === "resolved")
    parts.push(
      `, ${alert.outcome === "closed" ? "closed" : "recovered"} at step ${count(alert.resolved_step)}`,
      alert.resolved_reason ? ` (${alert.resolved_reason})` : "",
    );
  if (alert.state === "ended") parts.push(`, still open when the run ended at step ${count(alert.ended_step)}`);
  if (alert.silenced_by) parts.push(", silenced");
  if (alert.cause !== "unknown") parts.push(`. Cause: ${CAUSES[alert.cause] || alert.cause}`);
  return [...parts, "."];
}

function fix(alert) {
  const [remedy, ...further] = alert.remedies;
  if (!remedy) return null;
  const more = further.length
    ? el(
        "details",
        {},
        el("summary", {}, counted(further.length, "other remedy").replace("remedys", "remedies")),
        further.map(remedyBlock),
      )
    : null;
  return [remedyBlock(remedy), more];
}

export function remedyBlock(remedy) {
  return el(
    "div",
    { class: "remedy" },
    el("p", {}, el("strong", {}, "Fix: "), remedy.reason || remedy.action.replaceAll("_", " "), " ", copyButton(remedy.code)),
    el("pre", { tabindex: "0", "aria-label": "Code of the fix" }, remedy.code),
  );
}

function othersList(others) {
  if (!others.length) return null;
  const inOrder = [...others].sort((a, b) => a.opened_step - b.opened_step || a.layer_id - b.layer_id);
  const item = (alert) =>
    el(
      "li",
      { "data-alert": alert.id },
      el("a", { href: alertAddress(alert.id), id: `alert-${alert.id}` }, alert.title),
      " ",
      badge(alert.severity),
      " ",
      badge(alert.state),
      ` since step ${count(alert.opened_step)}`,
    );
  return el(
    "details",
    {},
    el("summary", {}, `${counted(others.length, "more alert")} with this cause`),
    el("ul", {}, inOrder.map(item)),
  );
}
