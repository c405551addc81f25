// The traces of a run that the page has received so far. Each overview contains new points only; they are appended here.

const LAYER_COLUMNS = ["dead_fraction", "born_dead_fraction", "dying_fraction", "active_rate"];
const RUN_COLUMNS = ["learning_rate", "update_ratio", "kill_ratio", "loss"];
const MOST_POINTS = 4000; // of one trace; beyond them every second of the older half goes, so that memory stays flat

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

// Returns the first and the last step of all traces, or null without any.
export function stepRange(traces) {
  let first = Infinity;
  let last = -Infinity;
  for (const { step } of [traces.run, ...traces.layers.values()]) {
    if (!step.length) continue;
    first = Math.min(first, step[0]);
    last = Math.max(last, step.at(-1));
  }
  return first <= last ? [first, last] : null;
}

// Returns all sampled steps in ascending order. Layers are usually sampled at the same steps: the longest trace has most.
export function sampledSteps(traces) {
  const all = new Set();
  for (const { step } of traces.layers.values()) {
    if (step.length !== all.size || step.some((value) => !all.has(value))) step.forEach((value) => all.add(value));
  }
  return [...all].sort((a, b) => a - b);
}

export function emptyTrace(columns = LAYER_COLUMNS) {
  return { step: [], ...Object.fromEntries(columns.map((name) => [name, []])) };
}

function append(target, source, columns) {
  const lastStep = target.step.at(-1) ?? -1;
  source.step.forEach((step, index) => {
    if (step <= lastStep) return;
    target.step.push(step);
    for (const name of columns) target[name].push(source[name][index] ?? null);
  });
  if (target.step.length > MOST_POINTS) thin(target, ["step", ...columns]);
}

function thin(target, columns) {
  const half = target.step.length >> 1;
  for (const name of columns) target[name] = target[name].filter((_, index) => index >= half || index % 2 === 0);
}
