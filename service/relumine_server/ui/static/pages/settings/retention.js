// The retention of a project: when its runs are deleted, and how much of their statistics per unit is stored.

import { path, put } from "../../core/api.js";
import { el, facts } from "../../core/elements.js";
import { count } from "../../core/format.js";
import { perform, statusLine } from "./actions.js";

const MIB = 1024 ** 2;

export function retentionSection(project, retention, access) {
  const body = access.canManage ? retentionForm(project, retention) : retentionFacts(retention);
  return el("section", { "aria-labelledby": "retention" }, el("h2", { id: "retention" }, "Retention"), body);
}

function retentionFacts(retention) {
  return facts([
    [
      "Runs are deleted",
      retention.run_retention_days === null ? "never" : `${count(retention.run_retention_days)} days after they ended`,
    ],
    ["Statistics per unit", `${count(Math.round(retention.unit_stats_bytes_per_run / MIB))} MiB per run`],
    ["When more", `one row in ${retention.unit_stats_keep_every} is kept`],
  ]);
}

function retentionForm(project, retention) {
  const days = el("input", {
    name: "days",
    type: "number",
    min: 1,
    max: 36500,
    step: 1,
    value: retention.run_retention_days,
    placeholder: "never",
  });
  const mebibytes = el("input", {
    name: "mebibytes",
    type: "number",
    min: 0.0625,
    max: 2 ** 30,
    step: "any",
    required: true,
    value: retention.unit_stats_bytes_per_run / MIB,
  });
  const every = el("input", {
    name: "every",
    type: "number",
    min: 2,
    max: 10000,
    step: 1,
    required: true,
    value: retention.unit_stats_keep_every,
  });
  const line = statusLine();
  const button = el("button", { type: "submit", class: "primary" }, "Save the retention");
  const warning = el("p", { class: "problem", role: "status" });
  const wasNever = retention.run_retention_days ?? Infinity;
  days.addEventListener("input", () => {
    const isShorter = days.value !== "" && Number(days.value) < wasNever;
    warning.textContent = isShorter
      ? `Runs that ended more than ${days.value} days ago are deleted within a minute. This cannot be undone.`
      : "";
  });
  async function submit(event) {
    event.preventDefault();
    const body = {
      run_retention_days: days.value === "" ? null : Number(days.value),
      unit_stats_bytes_per_run: Math.round(Number(mebibytes.value) * MIB),
      unit_stats_keep_every: Number(every.value),
    };
    const answer = await perform(
      button,
      line,
      () => put(path("projects", project, "retention"), body),
      "Saved; applied within a minute.",
    );
    if (answer) warning.textContent = "";
  }
  return el(
    "form",
    { submit, class: "card form", "aria-label": "Retention" },
    el(
      "div",
      { class: "fields" },
      el("label", {}, "Delete runs after (days; empty: never)", days),
      el("label", {}, "Statistics per unit of a run (MiB)", mebibytes),
      el("label", {}, "When they grow larger, keep one row in", every),
    ),
    warning,
    el("div", { class: "actions" }, button),
    line,
  );
}
