// What was done about the alert and what became of it, its events, and the other alerts of its incident.

import { alertAddress } from "../../core/address.js";
import { el, table } from "../../core/elements.js";
import { ago, count, counted, share } from "../../core/format.js";
import { badge, words } from "../../core/states.js";

export function effectTable(effects) {
  if (!effects.length) return null;
  return [
    el("h2", {}, "What was done"),
    table(
      "Remedies that the training applied, oldest first.",
      [
        { title: "Step", number: true, cell: ({ step }) => count(step) },
        { title: "Remedy", cell: ({ action }) => words(action).trim() },
        { title: "Outcome", cell: ({ outcome }) => badge(outcome) },
        { title: "Lost before", number: true, cell: (effect) => share(effect.share_before) },
        { title: "Lost since", number: true, cell: (effect) => share(effect.share_after) },
        { title: "Explanation", cell: ({ explanation }) => explanation },
      ],
      effects,
    ),
  ];
}

export function eventTable(events) {
  return [
    el("h2", {}, "History"),
    table(
      `${counted(events.length, "event")}, oldest first.`,
      [
        { title: "Time", cell: (event) => ago(event.occurred_at) },
        { title: "Step", number: true, cell: (event) => count(event.step) },
        { title: "Event", cell: (event) => words(event.event) },
        { title: "State", cell: (event) => badge(event.to_state) },
        { title: "Severity", cell: (event) => badge(event.severity) },
        { title: "By, and why", cell: ({ author, note }) => [author, note].filter(Boolean).join(": ") },
      ],
      events,
    ),
  ];
}

export function siblingList(incident, alertId) {
  const siblings = incident.layers.filter((member) => member.alert_id !== alertId);
  if (!siblings.length) return null;
  const rest = incident.alert_count - 1 - siblings.length;
  return [
    el("h2", {}, "Same incident"),
    el(
      "p",
      { class: "quiet" },
      `${counted(incident.alert_count - 1, "other alert")} with this cause, in the order of their onsets.`,
    ),
    el("ul", { class: "siblings" }, siblings.map(siblingItem)),
    rest > 0 ? el("p", { class: "quiet" }, `${count(rest)} more are on the page of the run.`) : null,
  ];
}

function siblingItem(member) {
  return el(
    "li",
    {},
    el("a", { href: alertAddress(member.alert_id) }, member.layer_label || "the run"),
    badge(member.kind),
    el("span", { class: "quiet" }, `step ${count(member.opened_step)}`),
  );
}
