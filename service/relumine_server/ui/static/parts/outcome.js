// The word for where an alert or an incident stands, and for how it ended.

import { el } from "../core/elements.js";
import { badge } from "../core/states.js";

const ENDINGS = {
  damaged: "ended_dead",
  at_risk: "ended_dying",
  collapsed: "ended_collapsed",
  diverged: "ended_diverged",
  healthy: "ended_healthy",
  unwatched: "ended_unwatched",
};

export function isOpen({ state }) {
  return state !== "resolved" && state !== "ended";
}

// Takes an alert.
export function alertState(alert) {
  if (!isOpen(alert)) return ending(alert);
  if (alert.silenced_by) return badge("silenced", { title: "A silence matches: no notification is sent." });
  if (alert.inhibited_by) return badge("inhibited", { title: "Another alert explains this one: no notification is sent." });
  return badge(alert.state);
}

// Takes an incident: it is acknowledged once all of its open alerts are.
export function incidentState(incident) {
  if (incident.state !== "open") return ending(incident);
  if (incident.silenced_by) return badge("silenced", { title: "A silence matches: no notification is sent." });
  const states = incident.layers.filter(isOpen).map(({ state }) => state);
  for (const state of ["firing", "regressed", "acknowledged"]) {
    if (states.includes(state)) return badge(state);
  }
  return badge(states[0] || "firing");
}

function ending({ state, outcome, resolved_reason: reason }) {
  if (state === "ended") return badge(ENDINGS[outcome] || "ended", { title: "The run ended while the problem held." });
  if (outcome !== "closed") return badge(outcome || "resolved", { title: reason });
  const [, author] = /^by (.*?)(?:: |$)/.exec(reason || "") || [];
  return el("span", { class: "closed-by" }, badge("closed", { title: reason }), author ? ` by ${author}` : "");
}
