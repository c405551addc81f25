// What has been received of a run so far. Later answers hold only what is new; they are added here.

const TRACE = ["dead_fraction", "dying_fraction", "active_rate"];
const RUN_TRACE = ["learning_rate", "update_ratio", "loss"];

export function history() {
  return { step: null, traces: new Map(), run: { step: [], ...empty(RUN_TRACE) } };
}

export function add(known, overview) {
  for (const trace of overview.traces) {
    if (!known.traces.has(trace.layer_id)) known.traces.set(trace.layer_id, { step: [], ...empty(TRACE) });
    extend(known.traces.get(trace.layer_id), trace, TRACE);
  }
  extend(known.run, overview.run_trace, RUN_TRACE);
  known.step = overview.last_step;
}

// A resumed run may begin again at an earlier step: then what is shown no longer holds.
export function startedOver(known, overview) {
  return known.step !== null && (overview.last_step === null || overview.last_step < known.step);
}

function empty(names) {
  return Object.fromEntries(names.map((name) => [name, []]));
}

function extend(target, source, names) {
  const last = target.step.at(-1) ?? -1;
  source.step.forEach((step, index) => {
    if (step <= last) return;
    target.step.push(step);
    for (const name of names) target[name].push(source[name][index] ?? null);
  });
}
