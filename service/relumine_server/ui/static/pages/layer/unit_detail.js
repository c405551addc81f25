// One unit that was chosen in the table or on the map: its values, and its active rate over the steps.

import { get, path, withQuery } from "../../core/api.js";
import { changeQuery, readAddress } from "../../core/address.js";
import { el, facts, replace } from "../../core/elements.js";
import { count, number, share } from "../../core/format.js";
import { badge } from "../../core/states.js";
import { lineLane } from "../run/lanes.js";
import { decodeMap, rateAt } from "./unit_map.js";

const POINTS = 400;

// onChange is called when another unit was chosen, or none.
export function unitDetail(address, signal, onChange) {
  const root = el("section", { class: "panel", id: "unit", "aria-live": "polite", hidden: true });
  let rates = null;

  function chosen() {
    const text = readAddress().query.get("unit");
    return text === null || !/^\d+$/.test(text) ? null : Number(text);
  }

  function choose(unit) {
    changeQuery({ unit });
    onChange();
  }

  async function load(timeline) {
    const unit = chosen();
    rates = null;
    root.hidden = unit === null;
    if (unit === null) return;
    const [from, to] = timeline.zoom || [null, null];
    const steps = { from_step: from && Math.floor(from), to_step: to && Math.ceil(to) };
    const [table, map] = await Promise.all([
      get(withQuery(path(...address, "unit-table"), { sort: "unit", first: unit, count: 1 }), { signal }),
      get(withQuery(path(...address, "unit-map"), { first_unit: unit, units: 1, points: POINTS, ...steps }), { signal }),
    ]);
    const [values] = table.items;
    render(unit, values);
    if (values) rates = decodeMap(map);
  }

  function render(unit, values) {
    const close = el("button", { type: "button", class: "small", click: () => choose(null) }, "Close");
    if (!values) {
      replace(root, el("p", { role: "alert" }, `This layer has no unit ${count(unit)}. `, close));
      return;
    }
    replace(
      root,
      el("h2", {}, `Unit ${count(unit)} `, badge(values.state), " ", close),
      facts([
        ["active", share(values.active_rate)],
        ["last active at step", count(values.last_active_step)],
        ["peak pre-activation", number(values.peak)],
        ["mean pre-activation", number(values.mean)],
        ["bias", number(values.bias)],
        ["shift by weights", number(values.shift_weight)],
        ["shift by the input", number(values.shift_input)],
        ["shift by the bias", number(values.shift_bias)],
      ]),
    );
  }

  function lanes() {
    if (!rates || !rates.step.length) return [];
    const values = rates.step.map((_, column) => rateAt(rates, 0, column));
    return [lineLane("unit", `Active rate of unit ${count(chosen())}`, rates.step, values, "accent", { isLogarithmic: false })];
  }

  return { root, load, lanes, choose };
}
