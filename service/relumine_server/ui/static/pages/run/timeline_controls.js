// The line above the timeline: legend, and how the loss is drawn.

import { changeQuery, readAddress } from "../../core/address.js";
import { el } from "../../core/elements.js";
import { UNIT_STATES } from "../../core/states.js";
import { smoothingChoice } from "../../parts/smoothing.js";

// onChange is called when the timeline has to be drawn again.
export function timelineControls(timeline, onChange) {
  const { query } = readAddress();
  const smoothing = smoothingChoice(onChange);
  const logarithmic = el("input", { type: "checkbox", id: "loss-log" });
  logarithmic.checked = query.get("loss") === "log";
  logarithmic.addEventListener("change", () => {
    changeQuery({ loss: logarithmic.checked ? "log" : null });
    onChange();
  });
  const root = el(
    "div",
    { class: "timeline-head" },
    heatMapLegend(),
    smoothing.root,
    el("label", { class: "inline" }, logarithmic, "log loss"),
    timeline.reset,
  );
  const options = () => ({ smoothing: smoothing.factor(), isLossLogarithmic: logarithmic.checked });
  return { root, options };
}

export function heatMapLegend() {
  const item = (style, text, className = "") => el("span", {}, el("i", { style, class: className }), text);
  return el(
    "div",
    { class: "legend" },
    item("background:var(--healthy)", "no unit lost"),
    UNIT_STATES.map(({ name, colour }) => item(`background:var(--${colour})`, name)),
    item("background:var(--diverged)", "diverged"),
    item("", "not sampled", "hatched"),
  );
}
