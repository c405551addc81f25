// One layer of a run: its series, and the active rate of each unit in its latest record.

import { ApiError, get, path } from "/static/api.js";
import { clear, lineChart, unitBars } from "/static/charts.js";
import { count, el, facts, plain, replace, share, tag } from "/static/dom.js";

const STATISTICS = ["active_rate", "dead_fraction", "born_dead_fraction", "dying_fraction"];
const POINTS = 500;

export function layerPanel(runId, signal) {
  const heading = el("h2", { id: "layer-heading", tabindex: "-1" });
  const properties = el("div");
  const series = el("div", { class: "chart", id: "layer-series" });
  const units = el("div", { class: "chart", id: "layer-units" });
  const problem = el("p", { class: "problem", role: "alert" });
  const charts = el("div", { class: "pair" }, series, units);
  const root = el("section", { "aria-labelledby": "layer-heading", hidden: true }, heading, properties, problem, charts);
  let drawnVersion = ""; // layer and step that the charts show

  async function show(layer) {
    root.hidden = false;
    heading.textContent = `Layer ${plain(layer.label.replace(/^layer /, ""))}`;
    replace(properties, layerFacts(layer));
    const version = `${layer.layer_id}@${layer.last_step}`;
    if (version === drawnVersion) return;
    drawnVersion = version;
    problem.textContent = "";
    try {
      const layerPath = ["runs", runId, "layers", String(layer.layer_id)];
      const seriesUrl = `${path(...layerPath, "series")}?statistics=${STATISTICS.join(",")}&points=${POINTS}`;
      const [layerSeries, unitStats] = await Promise.all([get(seriesUrl, { signal }), latestUnits(layerPath, signal)]);
      if (version === drawnVersion) draw(layerSeries, unitStats);
    } catch (error) {
      drawnVersion = "";
      if (!signal.aborted) problem.textContent = error.message;
    }
  }

  function draw(layerSeries, unitStats) {
    const line = (name, statistic, colour) => ({ name, colour, x: layerSeries.step, y: layerSeries.statistics[statistic]?.last ?? [] });
    lineChart(series, "Unit rates by step", [
      line("active rate (mean of the units)", "active_rate", "info"),
      line("dead", "dead_fraction", "critical"),
      line("born dead", "born_dead_fraction", "quiet"),
      line("dying", "dying_fraction", "warning"),
    ], { percent: true });
    const rates = unitStats && activeRates(unitStats);
    if (rates) unitBars(units, `Active rate of each unit, step ${count(unitStats.step)}`, rates);
    else units.textContent = "No per-unit statistics are stored yet.";
  }

  function hide() {
    root.hidden = true;
    drawnVersion = "";
    [series, units].forEach(clear);
  }

  return { root, show, hide };
}

async function latestUnits(layerPath, signal) {
  try {
    return await get(path(...layerPath, "units"), { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

// Returns the share of examples on which each unit was active; of positions if examples were not counted.
function activeRates({ columns, n_examples: examples, n_positions: positions }) {
  if (columns.active && examples > 0) return columns.active.map((active) => Math.min(1, active / examples));
  if (columns.active_positions && positions > 0) return columns.active_positions.map((active) => Math.min(1, active / positions));
  return null;
}

function layerFacts(layer) {
  return facts([
    ["state", tag(layer.state)],
    ["units", `${count(layer.units)} ${layer.unit_kind}`],
    ["activation", layer.activation],
    ["producer", layer.producer],
    ["split of the shift", layer.split],
    ["counted in", layer.n_unit],
    ["sampled steps", share(layer.sampled_share)],
    ["active", share(layer.active_rate)],
    ["dying", share(layer.dying_fraction)],
    ["dead", share(layer.dead_fraction)],
    ["born dead", share(layer.born_dead_fraction)],
    ["not recorded", layer.missing.join(", ")],
  ]);
}
