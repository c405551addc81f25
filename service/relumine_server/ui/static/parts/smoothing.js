// The choice of how much a loss is smoothed. It is in the address of the page.

import { changeQuery, readAddress } from "../core/address.js";
import { el } from "../core/elements.js";

const SMOOTHING = { none: 0, light: 0.6, strong: 0.9 };

// Returns {root, factor}: the labelled choice, and a function that returns the factor for `smooth`. onChange is called after a change.
export function smoothingChoice(onChange) {
  const chosen = readAddress().query.get("smoothing");
  const select = el(
    "select",
    { id: "smoothing" },
    Object.keys(SMOOTHING).map((name) => el("option", { value: name }, name)),
  );
  select.value = chosen in SMOOTHING ? chosen : "none";
  select.addEventListener("change", () => {
    changeQuery({ smoothing: select.value === "none" ? null : select.value });
    onChange();
  });
  return { root: el("label", { class: "inline" }, "Loss smoothing", select), factor: () => SMOOTHING[select.value] };
}
