// The numbers that the detector decided by, in words with units, each with an explanation.

import { el } from "../../core/elements.js";
import { count, duration, moment, number, share } from "../../core/format.js";

const percent = (value) => (value === null || value === undefined ? null : share(value));
const step = (value) => (value === null || value === undefined ? null : `step ${count(value)}`);
const figure = (value, unit = "") => (value === null || value === undefined ? null : `${number(value)}${unit}`);
const sigmas = (value) => figure(value, " σ");

const NOTHING = "Nothing was measured for this alert.";

// [name, value, explanation]; a value of null was not measured and is not shown.
const GROUPS = {
  Units: (e) => [
    ["Inactive units", inactive(e), "Units that were not active on any of the latest examples, of all units of the layer."],
    [
      "Silent for",
      e.n === null || !e.units_silent ? null : `${count(e.n)} ${e.n_unit || "examples"}`,
      "The number of examples (or positions) in a row on which none of the inactive units was active.",
    ],
    [
      "True active rate at most",
      percent(e.p_bound),
      "Upper limit (95%) of the true active rate of a unit that was silent for that long: 3 divided by that number.",
    ],
    [
      "Inactive from the start",
      percent(e.baseline_fraction),
      "The share of units that were inactive already when the baseline of the layer was taken. They do not count as lost.",
    ],
    ["Risk", percent(e.risk), "Estimated probability that the layer is dying."],
    [
      "Headroom now",
      sigmas(e.headroom?.now),
      "How far above 0 the pre-activations of the most fragile 10% of units reach, in standard deviations. Below 0 none fires.",
    ],
    ["Headroom usually", sigmas(e.headroom?.usual), "The same over the baseline of the layer."],
  ],
  "Learning rate and updates": (e) => [
    ["Learning rate now", figure(e.learning_rate?.now), "The learning rate at the step of the alert."],
    [
      "Learning rate before",
      figure(e.learning_rate?.before),
      "The learning rate before its last jump; without a jump, the earliest one remembered.",
    ],
    ["Learning rate changed at", step(e.learning_rate?.changed_at_step), "The step at which the learning rate jumped."],
    [
      "Slope of the learning rate",
      figure(e.learning_rate?.slope, " per step"),
      "How fast the learning rate rises or falls over the latest records.",
    ],
    [
      "Kill ratio",
      percent(e.kill_ratio),
      "The share of their headroom that one optimizer step takes from the units it pushes the most. Above 10% is unusually much.",
    ],
    [
      "Update relative to the weights",
      percent(e.update_to_weight),
      "The norm of the latest update divided by the norm of the weights.",
    ],
    [
      "Change of the weights",
      signed(e.weights?.change),
      "How much larger or smaller the norm of the weights is than usual. Weight decay makes it smaller.",
    ],
  ],
  "What moved the pre-activations": (e) => [
    ["Weights", percent(e.shift?.weight), "The share of the drop of the mean pre-activation that the weights made."],
    [
      "Input",
      percent(e.shift?.input),
      "The share of the drop of the mean pre-activation that a changed input of the layer made.",
    ],
    ["Bias", percent(e.shift?.bias), "The share of the drop of the mean pre-activation that the bias made."],
    ["Mean bias", figure(e.bias?.mean), "The mean bias of the inactive units; of all units if none is inactive."],
    ["Slope of the bias", figure(e.bias?.slope_per_step, " per step"), "How fast the mean bias of the layer rises or falls."],
    ["Input changed at", step(e.input?.changed_at_step), "The step at which the input left its usual range."],
    [
      e.units ? "Lost layers before it" : "Lost layers",
      layers(e),
      "Layers that were lost as well. Those before a layer may starve it.",
    ],
  ],
  "Effect and timing": (e) => [
    ["Onset", step(e.onset_step), "The step at which the loss of units began; the alert opens when it is certain."],
    [
      "Effect on the loss",
      lossEffect(e.loss_effect),
      "The median loss since the event that led to the problem, compared with the one before.",
    ],
    ["Last upload", e.last_heartbeat_at ? moment(e.last_heartbeat_at) : null, "When the last upload of the training arrived."],
    [
      "Silent",
      e.silent_s === undefined ? null : duration(e.silent_s),
      "For how long no upload had arrived when the alert was raised.",
    ],
    [
      "Counts as stalled after",
      e.stall_after_s === undefined ? null : duration(e.stall_after_s),
      "The silence after which this run counts as stalled: twice its longest pause, and at least the server's limit.",
    ],
    [
      "Longest pause so far",
      e.longest_gap_s === undefined ? null : duration(e.longest_gap_s),
      "The longest pause between uploads that the server remembers of this run.",
    ],
    ["Why it is not watched", e.watching?.explanation ?? null, "What the training reported."],
  ],
};

// Explanations are tooltips; `isExplained` says whether all of them are shown, which onExplain changes.
export function evidencePanel(evidence, { isExplained, onExplain }) {
  const present = Object.entries(GROUPS)
    .map(([title, items]) => group(title, items(evidence)))
    .filter(Boolean);
  const properties = { type: "button", class: "small", id: "explain", "aria-pressed": String(isExplained) };
  const explain = el("button", { ...properties, click: toggle }, "Explain the numbers");
  function toggle() {
    explain.setAttribute("aria-pressed", String(onExplain()));
  }
  const raw = el("pre", { tabindex: "0" }, JSON.stringify(evidence, null, 2));
  return [
    el("div", { class: "evidence-head" }, el("h2", {}, "Evidence"), present.length ? explain : null),
    present.length ? el("div", { class: "evidence-groups" }, present) : el("p", { class: "quiet" }, NOTHING),
    el("details", {}, el("summary", { id: "raw-evidence" }, "All values as JSON"), raw),
  ];
}

function group(title, items) {
  const measured = items.filter(([, value]) => value !== null);
  if (!measured.length) return null;
  return el("div", {}, el("h3", {}, title), el("dl", { class: "evidence" }, measured.map(item)));
}

// The explanation is a tooltip; where there is no mouse the button above shows all of them.
function item([name, value, explanation]) {
  return el("div", {}, el("dt", { title: explanation }, name), el("dd", {}, value, el("small", {}, explanation)));
}

// The effect is a relative change: 0.2 is 20% more.
function lossEffect(value) {
  if (value === null || value === undefined) return null;
  return value >= 1 ? `${number(1 + value)} times as high` : signed(value);
}

// Returns a relative change with its sign: +20%.
function signed(value) {
  if (value === null || value === undefined) return null;
  const sign = value > 0 ? "+" : value < 0 ? "−" : "";
  return `${sign}${share(Math.abs(value))}`;
}

function inactive({ units, units_silent: silent }) {
  if (units === null || units === undefined) return null;
  return `${count(silent)} of ${count(units)} (${share((silent || 0) / Math.max(1, units))})`;
}

function layers({ upstream_names: names, upstream }) {
  if (!names?.length) return null;
  return names.length < upstream.length ? `${names.join(", ")} …` : names.join(", ");
}
