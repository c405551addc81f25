// The lanes of a layer's timeline that come from its series.

import { drawStack } from "../../charts/lines.js";
import { nearest } from "../../charts/scale.js";
import { count, share } from "../../core/format.js";
import { UNIT_STATES } from "../../core/states.js";
import { lineLane } from "../run/lanes.js";

const STATES_HEIGHT = 200;
const LINES = [
  { statistic: "active_rate", title: "Active rate", colour: "accent" },
  { statistic: "kill_ratio", title: "Kill ratio", colour: "dying" },
  { statistic: "update_ratio", title: "Update ratio", colour: "info" },
  { statistic: "grad_norm", title: "Gradient norm", colour: "text" },
  { statistic: "weight_norm", title: "Weight norm", colour: "text" },
  { statistic: "input_std", title: "Spread of the input", colour: "text" },
  { statistic: "learning_rate", title: "Learning rate", colour: "accent" },
];

export const STATISTICS = [...UNIT_STATES.map(({ column }) => column), ...LINES.map(({ statistic }) => statistic)];

// Returns {states, others}: the stacked states of the units, and one lane for each statistic that has values.
export function seriesLanes({ step, statistics }) {
  const present = LINES.filter(({ statistic }) => statistics[statistic].last.some((value) => value !== null));
  const others = present.map(({ statistic, title, colour }) =>
    lineLane(statistic, title, step, statistics[statistic].last, colour),
  );
  return { states: statesLane(step, statistics), others };
}

function statesLane(step, statistics) {
  const parts = UNIT_STATES.map(({ name, column, colour }) => ({ name, colour, value: statistics[column].last }));
  const living = step.map((_, index) =>
    parts[0].value[index] === null ? null : 1 - parts.reduce((sum, { value }) => sum + (value[index] ?? 0), 0),
  );
  const layers = [...parts, { name: "living", colour: "healthy", value: living }];
  return {
    key: "states",
    title: "States of the units",
    titleVersion: "",
    height: STATES_HEIGHT,
    draw: (context, view) => drawStack(context, view, step, layers, STATES_HEIGHT),
    hover(at) {
      const index = nearest(step, at);
      if (index < 0) return "";
      const shares = layers.map(({ name, value }) => `${name} ${share(value[index])}`);
      return [`step ${count(step[index])}`, ...shares].join("\n");
    },
  };
}
