// The traces of a run that the page has received so far. Each overview contains new points only; they are appended here.

const LAYER_COLUMNS = ["dead_fraction", "born_dead_fraction", "dying_fraction", "active_rate"];
const RUN_COLUMNS = ["learning_rate", "update_ratio", "loss"];

export function emptyTraces() {
  return { lastStep: null, layers: new Map(), run: emptyTrace(RUN_COLUMNS) };
}

export function addOverview(traces, overview) {
  for (const trace of overview.traces) {
    if (!traces.layers.has(trace.layer_id)) traces.layers.set(trace.layer_id, emptyTrace(LAYER_COLUMNS));
    append(traces.layers.get(trace.layer_id), trace, LAYER_COLUMNS);
  }
  append(traces.run, overview.run_trace, RUN_COLUMNS);
  traces.lastStep = overview.last_step;
}

// Returns true if a resumed run goes on from an earlier step: the received points are then out of date.
export function wentBack(traces, overview) {
  return traces.lastStep !== null && (overview.last_step === null || overview.last_step < traces.lastStep);
}

function emptyTrace(columns) {
  return { step: [], ...Object.fromEntries(columns.map((name) => [name, []])) };
}

function append(target, source, columns) {
  const lastStep = target.step.at(-1) ?? -1;
  source.step.forEach((step, index) => {
    if (step <= lastStep) return;
    target.step.push(step);
    for (const name of columns) target[name].push(source[name][index] ?? null);
  });
}
