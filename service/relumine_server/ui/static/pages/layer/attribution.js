// What shifted the mean pre-activations since the record before: for the units in each state, by weights, input and bias.

import { el, replace } from "../../core/elements.js";
import { number } from "../../core/format.js";
import { badge } from "../../core/states.js";

const CAUSES = [
  { name: "weights", key: "weight" },
  { name: "input", key: "input" },
  { name: "bias", key: "bias" },
];

export function attribution() {
  const body = el("tbody");
  const root = el(
    "section",
    { hidden: true },
    el("h2", {}, "What shifted the pre-activations"),
    el("p", { class: "quiet" }, "The average change of the mean pre-activation since the record before."),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "What shifted the pre-activations" },
      el(
        "table",
        { class: "attribution" },
        el("thead", {}, el("tr", {}, headCell("Units"), ...CAUSES.map(({ name }) => headCell(name)))),
        body,
      ),
    ),
  );

  function render(shifts) {
    root.hidden = !shifts.length;
    const largest = Math.max(...shifts.flatMap((shift) => CAUSES.map(({ key }) => Math.abs(shift[key] ?? 0))));
    replace(
      body,
      shifts.map((shift) =>
        el(
          "tr",
          {},
          el("td", { class: "text" }, badge(shift.state)),
          CAUSES.map(({ key }) => el("td", { class: "number" }, bar(shift[key], largest), ` ${number(shift[key])}`)),
        ),
      ),
    );
  }

  return { root, render };
}

function headCell(title) {
  return el("th", { scope: "col", class: title === "Units" ? "text" : "number" }, title);
}

// A bar to the left of the middle for a negative shift, to the right for a positive one.
function bar(value, largest) {
  const width = largest ? (50 * Math.abs(value ?? 0)) / largest : 0;
  const left = value < 0 ? 50 - width : 50;
  const className = value < 0 ? "down" : "up";
  return el(
    "span",
    { class: "shift-bar", "aria-hidden": "true" },
    el("i", { class: className, style: `left: ${left}%; width: ${width}%` }),
  );
}
