// The bar of an alert's life: opened, dead, acknowledged, over; each with its step and time.

import { el } from "../../core/elements.js";
import { ago, count } from "../../core/format.js";
import { badge } from "../../core/states.js";
import { alertState, isOpen } from "../../parts/outcome.js";

export function lifecycle(alert) {
  const stages = [opened(alert), died(alert), acknowledged(alert), over(alert)].filter(Boolean);
  return el("ol", { class: "lifecycle", "aria-label": "Life of the alert" }, stages.map(stageItem));
}

function stageItem({ name, isReached, details, tone = "" }) {
  return el(
    "li",
    { class: [isReached ? "reached" : "ahead", tone].join(" ").trim() },
    el("strong", {}, name),
    el("span", { class: "quiet" }, details),
  );
}

// A layer is dying at first, also where it is dead by now.
function opened({ opened_step: step, opened_at: time, state, kind, severity }) {
  const tone = kind === "dead" ? "warning" : severity;
  return {
    name: state === "regressed" ? "Opened again" : "Opened",
    isReached: true,
    tone,
    details: [`step ${count(step)}, `, ago(time)],
  };
}

// Only units can die; where the layer is dying, this says what would come next.
function died({ kind, dead_step: step, opened_step: openedStep, state }) {
  if (kind === "born_dead")
    return { name: "Born dead", isReached: true, tone: "critical", details: [`seen at step ${count(openedStep)}`] };
  if (step !== null) return { name: "Dead", isReached: true, tone: "critical", details: [`step ${count(step)}`] };
  return kind === "dying" ? { name: "Dead", isReached: false, details: [isOpen({ state }) ? "not so far" : "never"] } : null;
}

function acknowledged({ acknowledged: entry, state }) {
  if (!entry) return { name: "Acknowledged", isReached: false, details: [isOpen({ state }) ? "by no one yet" : "by no one"] };
  const note = entry.note ? `: ${entry.note}` : "";
  return { name: "Acknowledged", isReached: true, tone: "info", details: [`by ${entry.author}, `, ago(entry.at), note] };
}

function over(alert) {
  if (isOpen(alert)) return { name: "Resolved", isReached: false, details: ["still open"] };
  const isEnded = alert.state === "ended";
  const step = isEnded ? alert.ended_step : alert.resolved_step;
  return {
    name: isEnded ? "Run ended" : "Resolved",
    isReached: true,
    tone: alert.outcome === "recovered" ? "good" : "",
    details: [ending(alert), step === null ? ", " : `, step ${count(step)}, `, ago(isEnded ? alert.ended_at : alert.resolved_at)],
  };
}

// The reason of a closed alert begins with the name of the person.
function ending(alert) {
  if (!alert.resolved_reason) return alertState(alert);
  if (alert.outcome === "closed") return [badge("closed"), ` ${alert.resolved_reason}`];
  return [alertState(alert), `: ${alert.resolved_reason}`];
}
