// The words for health, status, severity and states, each with a letter and a colour, so that none rests on colour alone.

import { el } from "./elements.js";

const BADGES = {
  // health
  healthy: ["✓", "good"],
  at_risk: ["▲", "dying"],
  damaged: ["✕", "dead"],
  collapsed: ["▬", "dead"],
  diverged: ["∞", "diverged"],
  unwatched: ["◌", "dying"],
  unknown: ["?", "quiet"],
  // status
  running: ["▸", "good"],
  finished: ["■", "quiet"],
  stalled: ["‖", "dying"],
  failed: ["✕", "dead"],
  // severity
  critical: ["!", "dead"],
  warning: ["▲", "dying"],
  info: ["i", "info"],
  // states of layers and units
  active: ["✓", "good"],
  rare: ["◔", "rare"],
  dying: ["▼", "dying"],
  dead: ["✕", "dead"],
  born_dead: ["○", "born-dead"],
  waiting: ["…", "quiet"],
  cannot_die: ["–", "quiet"],
  // states of alerts, deliveries and remedies
  firing: ["●", "dying"],
  pending: ["…", "quiet"],
  regressed: ["↺", "dying"],
  acknowledged: ["☑", "info"],
  resolved: ["✓", "good"],
  ended: ["■", "quiet"],
  silenced: ["⊘", "quiet"],
  in_force: ["⊘", "info"],
  planned: ["…", "quiet"],
  inhibited: ["⊂", "quiet"],
  recovered: ["✓", "good"],
  closed: ["■", "quiet"],
  ended_dead: ["✕", "dead"],
  ended_dying: ["▼", "dying"],
  ended_collapsed: ["▬", "dead"],
  ended_diverged: ["∞", "diverged"],
  ended_healthy: ["✓", "good"],
  ended_unwatched: ["◌", "dying"],
  enabled: ["✓", "good"],
  disabled: ["✕", "dead"],
  failing: ["▲", "dying"],
  ready: ["✓", "good"],
  "not ready": ["✕", "dead"],
  cancelled: ["⊘", "quiet"],
  revoked: ["✕", "dead"],
  expired: ["■", "quiet"],
  delivered: ["✓", "good"],
  effective: ["✓", "good"],
  ineffective: ["✕", "dying"],
  inconclusive: ["?", "quiet"],
};

// Worst first: the order of ``sort=health``.
export const HEALTHS = ["diverged", "collapsed", "damaged", "unwatched", "at_risk", "unknown", "healthy"];
export const STATUSES = ["running", "finished", "stalled", "failed"];

// The states of units from the top of a stacked chart, with the CSS variable of their colour.
export const UNIT_STATES = [
  { name: "dead", column: "dead_fraction", colour: "dead" },
  { name: "born dead", column: "born_dead_fraction", colour: "born-dead" },
  { name: "dying", column: "dying_fraction", colour: "dying" },
];

export const CAUSES = {
  high_learning_rate: "high learning rate",
  negative_bias: "negative bias",
  bad_initialization: "bad initialization",
  input_shift: "shift of the input",
  input_scale: "scale of the input",
  upstream_collapse: "collapse of an upstream layer",
  unknown: "unknown cause",
};

export function words(name) {
  return name.replaceAll("_", " ");
}

export function badge(name, { title = null } = {}) {
  const [letter, colour] = BADGES[name] || ["", "quiet"];
  const icon = letter ? el("span", { class: "icon", "aria-hidden": "true" }, letter) : null;
  return el("span", { class: `badge ${colour}`, title }, icon, words(name));
}

const colours = new Map(); // by name; reading one makes the browser compute styles
window.addEventListener("themechange", () => colours.clear());

// Returns the colours of CSS variables, as the current theme has them.
export function themeColours(...names) {
  return Object.fromEntries(names.map((name) => [name, colour(name)]));
}

function colour(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}
