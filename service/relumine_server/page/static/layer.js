// One layer of a run: its rates over the steps, and every unit of its latest record.

import { ApiError, get, path } from "/static/api.js";
import { clear, lineChart, unitBars } from "/static/charts.js";
import { count, el, facts, plain, replace, share, tag } from "/static/dom.js";

const STATISTICS = ["active_rate", "dead_fraction", "dying_fraction"];
const POINTS = 500;

export function layerPanel(runId, signal) {
  const heading = el("h2", { id: "layer-heading", tabindex: "-1" });
  const about = el("div");
  const series = el("div", { class: "chart", id: "layer-series" });
  const units = el("div", { class: "chart", id: "layer-units" });
  const problem = el("p", { class: "problem", role: "alert" });
  const charts = el("div", { class: "pair" }, series, units);
  const root = el("section", { "aria-labelledby": "layer-heading", hidden: true }, heading, about, problem, charts);
  let drawn = "";

  async function show(layer) {
    root.hidden = false;
    heading.textContent = `Layer ${plain(layer.name)}`;
    replace(about, describe(layer));
    const now = `${layer.layer_id}@${layer.last_step}`;
    if (now === drawn) return;
    drawn = now;
    problem.textContent = "";
    try {
      const below = ["runs", runId, "layers", String(layer.layer_id)];
      const asked = `${path(...below, "series")}?statistics=${STATISTICS.join(",")}&points=${POINTS}`;
      const [over, each] = await Promise.all([get(asked, { signal }), latestUnits(below, signal)]);
      if (now === drawn) draw(over, each);
    } catch (error) {
      drawn = "";
      if (!signal.aborted) problem.textContent = error.message;
    }
  }

  function draw(over, each) {
    const line = (name, statistic, colour) => ({ name, colour, x: over.step, y: over.statistics[statistic]?.last ?? [] });
    lineChart(series, "Rates over the steps", [
      line("active rate (mean of the units)", "active_rate", "info"),
      line("dead", "dead_fraction", "critical"),
      line("dying", "dying_fraction", "warning"),
    ], { percent: true });
    const rates = each && activeRates(each);
    if (rates) unitBars(units, `Active rate of each unit, step ${count(each.step)}`, rates);
    else units.textContent = "No per-unit statistics are stored yet.";
  }

  function hide() {
    root.hidden = true;
    drawn = "";
    [series, units].forEach(clear);
  }

  return { root, show, hide };
}

async function latestUnits(below, signal) {
  try {
    return await get(path(...below, "units"), { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

// Over examples where they were counted, else over positions.
function activeRates({ columns, n_examples: examples, n_positions: positions }) {
  if (columns.active && examples > 0) return columns.active.map((active) => Math.min(1, active / examples));
  if (columns.active_positions && positions > 0) return columns.active_positions.map((active) => Math.min(1, active / positions));
  return null;
}

function describe(layer) {
  return facts([
    ["state", tag(layer.state)],
    ["units", `${count(layer.units)} ${layer.unit_kind}`],
    ["activation", layer.activation],
    ["after", layer.producer],
    ["split of shifts", layer.split],
    ["n counts", layer.n_unit],
    ["steps looked at", share(layer.sampled_share)],
    ["active", share(layer.active_rate)],
    ["dying", share(layer.dying_fraction)],
    ["dead", share(layer.dead_fraction)],
    ["born dead", share(layer.born_dead_fraction)],
    ["not seen", layer.missing.join(", ")],
  ]);
}
