// The records around an onset: the layer's series, the run's learning rate, and the loss from wherever it was sent.

import { get, path, withQuery } from "../../core/api.js";

const LAYER_STATISTICS = "active_rate,dying_fraction,dead_fraction,born_dead_fraction";
const RUN_STATISTICS = "learning_rate,loss,output_spread";
const MOST_POINTS = 2000;
const MOST_METRIC_PAGES = 5;
const EMPTY = { step: [], statistics: {} };

// Returns {layer, run, loss}, each with `step`; a layer_id of 0 is the run itself. from and to may be null.
export async function readRecords({ run_id: runId, layer_id: layerId }, [from, to], signal) {
  const range = { from_step: from, to_step: to, points: MOST_POINTS };
  const series = (id, statistics) => readSeries(runId, id, { statistics, ...range }, signal);
  const [run, layer] = await Promise.all([series(0, RUN_STATISTICS), layerId ? series(layerId, LAYER_STATISTICS) : EMPTY]);
  const recorded = run.statistics.loss?.last || [];
  const hasLoss = recorded.some((value) => value !== null);
  return { run, layer, loss: hasLoss ? { step: run.step, value: recorded } : await loggedLoss(runId, from, to, signal) };
}

async function readSeries(runId, layerId, query, signal) {
  try {
    return await get(withQuery(path("runs", runId, "layers", String(layerId), "series"), query), { signal });
  } catch (error) {
    if (error.status === 404) return EMPTY; // a run or a layer without records
    throw error;
  }
}

// A training may log its loss instead of recording it.
async function loggedLoss(runId, from, to, signal) {
  const points = [];
  let query = { after_step: from ? from - 1 : null };
  for (let page = 0; query && page < MOST_METRIC_PAGES; page += 1) {
    const { metrics, next_cursor: cursor } = await get(withQuery(path("runs", runId, "metrics"), query), { signal });
    points.push(...(metrics.loss || []).filter(({ step }) => to === null || step <= to));
    const last = Object.values(metrics).reduce((step, items) => Math.max(step, items.at(-1)?.step ?? 0), 0);
    query = cursor && (to === null || last < to) ? { cursor } : null;
  }
  return { step: points.map(({ step }) => step), value: points.map(({ value }) => value) };
}
