// How to fix it: the remedies, the one to try first on top, with code to paste.

import { copyButton, el } from "../../core/elements.js";
import { number } from "../../core/format.js";
import { words } from "../../core/states.js";

const ACTIONS = {
  lower_learning_rate: "Lower the learning rate",
  lower_weight_decay: "Lower the weight decay",
  revive_: "Revive the lost units",
  reset_bias_: "Reset the biases",
  replace_relu_: "Replace the ReLU",
  check_loss: "Check the loss",
  clip_gradient: "Clip the gradient",
  normalize_input: "Normalize the input",
  treat_upstream: "Treat the layer before it first",
  check_coverage: "Check what is watched",
  check_job: "Check the job",
};

const AUTOMATIC = `import relumine

handler = relumine.remedies.apply(model, optimizer)
monitor = relumine.watch(model, optimizer, on_alert=handler)`;

export function fixPanel({ remedies }) {
  if (!remedies.length) {
    return [
      el("h2", {}, "Fix"),
      el("p", { class: "quiet" }, "No remedy is proposed: the numbers do not support one. Check the evidence."),
    ];
  }
  const isAutomatic = remedies.some((remedy) => remedy.function !== null);
  return [el("h2", {}, "Fix"), el("ol", { class: "remedies" }, remedies.map(remedyItem), isAutomatic ? automaticItem() : null)];
}

function remedyItem(remedy, index) {
  return el(
    "li",
    {},
    el(
      "details",
      { open: index === 0 },
      el("summary", { id: `remedy-${index}` }, remedyTitle(remedy)),
      remedy.reason ? el("p", { class: "quiet" }, sentence(remedy.reason)) : null,
      codeBlock(remedy.code),
    ),
  );
}

function automaticItem() {
  return el(
    "li",
    {},
    el(
      "details",
      {},
      el("summary", { id: "remedy-automatic" }, "Let the training do it"),
      el("p", { class: "quiet" }, "Applies the first applicable remedy of each alert, at most three in all."),
      codeBlock(AUTOMATIC),
    ),
  );
}

export function remedyTitle({ action, parameter, value }) {
  const title = ACTIONS[action] || words(action).trim();
  if (value === null || value === undefined) return title;
  const name = { lr: "" }[parameter] ?? `${words(parameter || "")} `;
  return parameter === "lr" ? `${title} to ${number(value)}` : `${title}: ${name}${number(value)}`;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function codeBlock(code) {
  return el("div", { class: "code" }, el("pre", { tabindex: "0" }, code), copyButton(code, "Copy the code"));
}
