// What of the model is watched, and what is not, with the reason.

import { el, facts, replace } from "../../core/elements.js";
import { count, counted } from "../../core/format.js";

export function coverageTab() {
  const root = el("div");
  let rendered = "";
  function render({ run, layers }) {
    const version = JSON.stringify([run.coverage, run.dropped, run.watching, run.sampled_steps]);
    if (version === rendered) return;
    rendered = version;
    replace(root, totals(run), notWatched(run.coverage), missing(layers));
  }
  return { root, render };
}

function totals(run) {
  const { coverage, watching } = run;
  const dropped = Object.entries(run.dropped)
    .map(([reason, steps]) => `${counted(steps, "step")} (${reason.replaceAll("_", " ")})`)
    .join(", ");
  return facts([
    ["watching", watching ? (watching.reason ? `no: ${watching.reason.replaceAll("_", " ")}` : "yes") : null],
    ["sampled steps", count(run.sampled_steps)],
    ["ReLUs watched", coverage ? count(coverage.watched) : null],
    ["units", coverage ? count(coverage.units) : null],
    ["activations that cannot die", coverage?.cannot_die ? count(coverage.cannot_die) : null],
    ["sampled steps that were lost", dropped],
  ]);
}

function notWatched(coverage) {
  if (!coverage) return el("p", { class: "notice" }, "The SDK has not reported its coverage yet.");
  const items = [...(coverage.unused || []).map((name) => `${name}: never used in a forward`), ...(coverage.remarks || [])];
  if (!items.length) return el("p", { class: "notice" }, "Every activation that can die is watched.");
  return [
    el("h2", {}, "Not watched"),
    el(
      "ul",
      {},
      items.map((text) => el("li", {}, text)),
    ),
  ];
}

function missing(layers) {
  const partly = layers.filter((layer) => layer.missing.length);
  if (!partly.length) return null;
  return [
    el("h2", {}, "Watched in part"),
    el(
      "ul",
      {},
      partly.map((layer) => el("li", {}, `${layer.label}: ${layer.missing.join(", ")}`)),
    ),
  ];
}
