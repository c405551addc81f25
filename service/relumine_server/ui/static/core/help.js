// The drawer with the glossary and how to read each chart.

import { el } from "./elements.js";
import { badge } from "./states.js";

const CHARTS = [
  [
    "Heat map",
    "One row per layer, from the input of the model at the top to its output. Each cell is the share of lost units: pale is none, amber is dying, red is dead, purple is born dead. Hatched means that nothing was sampled.",
  ],
  ["Sampled steps", "One tick for each sampled step. A gap means that the layers were not seen in between."],
  ["Alert lane", "One mark for each alert, at the step where it opened."],
  [
    "Learning rate, loss",
    "The highest learning rate of all parameter groups, and the loss as it was logged or recorded. Dashed lines in the loss are steps at which the rate changed to more than twice or less than half.",
  ],
  [
    "Kill ratio, worst layer",
    "That of the layer where it is highest. Near 1, one optimizer step can silence the most fragile units.",
  ],
  ["Update ratio", "The size of an update relative to the size of the weights. Values far above 0.01 are unusually large."],
  ["Unit map", "One row per unit, one column per sampled step, darker where the unit is active on more examples."],
];

const GLOSSARY = [
  [
    "active",
    "A unit is active on an example if its pre-activation is above 0. The active rate is the share of examples on which it is.",
  ],
  ["dead", "Never active over enough examples to be certain; the confidence and the number of examples are part of the alert."],
  ["dying", "Active far less often than before, and staying there."],
  ["born_dead", "Dead from the first records on, before training could have caused it."],
  ["rare", "Active, but on very few examples. Healthy for sparse networks."],
  ["at_risk", "A layer is dying."],
  ["damaged", "At least one layer is dead or was born dead."],
  ["collapsed", "The output no longer depends on the input."],
  ["diverged", "Weights, activations or the loss are no longer finite."],
  ["unwatched", "The training goes on but is not being sampled; the reason is beside it."],
  ["unknown", "Nothing was analyzed, or not to the end."],
  [
    "stalled",
    "The training has sent nothing for longer than its own pauses so far. It may wait, have lost its network, or have ended.",
  ],
];

const TERMS = [
  ["Sampled step", "An optimizer step whose activations were recorded."],
  ["Baseline", "The behavior of a layer in its first ten records; each layer is compared with its own."],
  ["Headroom", "How far above 0 the pre-activations of the most fragile 10% of units still reach, in standard deviations."],
  ["Kill ratio", "The share of that headroom that one optimizer step takes."],
  ["Risk", "The estimated probability that the layer is dying."],
  ["Incident", "The alerts of one run that share a cause."],
];

function definitions(pairs, term) {
  return el(
    "dl",
    { class: "definitions" },
    pairs.map(([name, text]) => [el("dt", {}, term(name)), el("dd", {}, text)]),
  );
}

function fill(drawer) {
  drawer.append(
    el("button", { type: "button", class: "small close", click: () => toggleHelp() }, "Close"),
    el("h2", {}, "Words"),
    definitions(GLOSSARY, badge),
    definitions(TERMS, (name) => name),
    el("h2", {}, "Charts"),
    definitions(CHARTS, (name) => name),
    el(
      "p",
      { class: "quiet" },
      "Drag across a chart to zoom, double-click to see everything again; with the keyboard: + − ← → and 0.",
    ),
  );
}

export function toggleHelp() {
  const drawer = document.getElementById("help");
  const button = document.getElementById("help-button");
  if (!drawer.children.length) {
    fill(drawer);
    drawer.addEventListener("keydown", ({ key }) => key === "Escape" && toggleHelp());
  }
  drawer.hidden = !drawer.hidden;
  button.setAttribute("aria-expanded", String(!drawer.hidden));
  if (drawer.hidden) button.focus();
  else drawer.querySelector("button").focus();
}
