// The thresholds of a project: each with the reason for its default. Changes are tried on stored runs before they are
// saved, and are part of the address until then, so that a colleague sees them.

import { path, put } from "../../core/api.js";
import { changeQuery } from "../../core/address.js";
import { el, replace } from "../../core/elements.js";
import { counted, number } from "../../core/format.js";
import { words } from "../../core/states.js";
import { perform, statusLine } from "./actions.js";
import { Backtest } from "./backtest.js";

// What people change; the others describe the statistics of the detector.
const OFTEN = [
  "risk",
  "risk_early",
  "risk_sure",
  "confirm_records",
  "dead_share",
  "critical_share",
  "info_share",
  "warmup_records",
  "harmless_records",
  "resolve_records",
  "least_units",
  "born_dead_layer",
];

const EXPLANATION =
  "They decide when evidence becomes an alert. The defaults were set on real trainings; change one only if stored runs " +
  "show that another value serves this project better.";

export function policySection({ project, policy, access, signal, query }) {
  const view = { project, policy, access, draft: readDraft(query, policy), rows: new Map() };
  view.status = statusLine();
  view.actions = el("div", { class: "actions sticky" });
  view.backtest = new Backtest({ project, signal, query });
  const names = Object.keys(policy.known);
  const often = OFTEN.filter((name) => names.includes(name));
  const others = names.filter((name) => !often.includes(name));
  const isOpen = others.some((name) => name in view.draft || name in policy.changed);
  const section = el(
    "section",
    { "aria-labelledby": "thresholds" },
    el("h2", { id: "thresholds" }, "Thresholds"),
    el("p", { class: "quiet wide-text" }, EXPLANATION),
    thresholdTable(view, "Thresholds that are changed most often", often),
    el(
      "details",
      { open: isOpen },
      el("summary", {}, `All other thresholds (${others.length})`),
      thresholdTable(view, "All other thresholds", others),
    ),
    view.actions,
    view.status,
    view.backtest.root,
  );
  showActions(view);
  return section;
}

// The address has "try=risk:0.8,nats:12".
function readDraft(query, policy) {
  const draft = {};
  for (const part of (query.get("try") || "").split(",")) {
    const [name, value] = part.split(":");
    if (Object.hasOwn(policy.known, name) && Number.isFinite(Number(value))) draft[name] = Number(value);
  }
  return draft;
}

function thresholdTable(view, caption, names) {
  const head = ["Threshold", "Value", "Default", "Range", "Why the default"].map((title) => el("th", { scope: "col" }, title));
  const rows = names.map((name) => thresholdRow(view, name));
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: "thresholds" }, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)),
  );
}

function thresholdRow(view, name) {
  const known = view.policy.known[name];
  const id = `threshold-${name}`;
  const value = view.draft[name] ?? view.policy.thresholds[name];
  const input = el("input", {
    id,
    type: "number",
    min: known.min,
    max: known.max,
    step: known.integer ? 1 : "any",
    value: shortest(value),
    "aria-describedby": `${id}-reason`,
    input: () => edit(view, name, input),
  });
  const mark = el("span", { class: "quiet under", role: "status" });
  const row = el(
    "tr",
    {},
    el("th", { scope: "row" }, el("label", { for: id }, words(name)), mark),
    el("td", {}, input),
    el("td", { class: "number" }, cellTitle("Default"), number(known.default)),
    el("td", { class: "number" }, cellTitle("Range"), rangeOf(known)),
    el("td", { id: `${id}-reason`, class: "reason" }, known.reason),
  );
  view.rows.set(name, { row, input, mark });
  showMark(view, name);
  return row;
}

// The title of a value on a phone, where the table has no head.
const cellTitle = (text) => el("span", { class: "cell-title", "aria-hidden": "true" }, text);

// The smallest and the largest number only keep the detector sound: they say nothing to a reader.
function rangeOf({ min, max }) {
  const low = min < 1e-3 ? "above 0" : `from ${number(min)}`;
  return max < 1e5 ? `${low} to ${number(max)}` : low;
}

// 1/3 is shown with six digits.
const shortest = (value) => String(Number(Number(value).toPrecision(6)));

function edit(view, name, input) {
  const value = Number(input.value);
  const inForce = view.policy.thresholds[name];
  const isSame = input.value === "" || input.value === shortest(inForce);
  if (isSame) delete view.draft[name];
  else view.draft[name] = value;
  const text = Object.entries(view.draft)
    .map(([key, number]) => `${key}:${number}`)
    .join(",");
  changeQuery({ try: text || null });
  showMark(view, name);
  showActions(view);
}

function showMark(view, name) {
  const { row, mark } = view.rows.get(name);
  const isTried = name in view.draft;
  const isChanged = name in view.policy.changed;
  row.classList.toggle("tried", isTried);
  row.classList.toggle("changed", isChanged);
  mark.textContent = isTried
    ? `not saved; in force: ${number(view.policy.thresholds[name])}`
    : isChanged
      ? "changed in this project"
      : "";
}

// Returns all thresholds as the project would set them: those in force with those of the draft.
function proposed(view) {
  const thresholds = { ...view.policy.changed, ...view.draft };
  const isDefault = ([name, value]) => value === view.policy.known[name].default;
  return Object.fromEntries(Object.entries(thresholds).filter((entry) => !isDefault(entry)));
}

function showActions(view) {
  const changes = Object.keys(view.draft).length;
  const isDefault = !Object.keys(view.policy.changed).length;
  const tried = el(
    "button",
    { type: "button", class: "primary", id: "backtest", disabled: !changes, click: () => runBacktest(view, tried) },
    "Try on stored runs",
  );
  const save = el(
    "button",
    { type: "button", id: "save-policy", disabled: !changes, click: () => savePolicy(view, save, proposed(view)) },
    "Save",
  );
  const discard = el("button", { type: "button", id: "discard", disabled: !changes, click: () => discardDraft(view) }, "Discard");
  const reset = el(
    "button",
    { type: "button", id: "defaults", disabled: isDefault, click: () => savePolicy(view, reset, {}) },
    "Back to the defaults",
  );
  const state = changes ? `${counted(changes, "change")} not saved` : "Change a value to try it on stored runs.";
  replace(
    view.actions,
    tried,
    view.backtest.limit,
    view.access.canManage ? [save, discard, reset] : discard,
    el("span", { class: "quiet", role: "status" }, state),
  );
}

async function runBacktest(view, button) {
  if (!areValid(view)) return;
  await perform(button, view.status, () => view.backtest.run(proposed(view)), "");
}

// Shows the browser's message beside the first value out of its range.
function areValid(view) {
  const invalid = [...view.rows.values()].find(({ input }) => !input.checkValidity());
  if (!invalid) return true;
  const details = invalid.row.closest("details");
  if (details) details.open = true;
  invalid.input.reportValidity();
  return false;
}

async function savePolicy(view, button, thresholds) {
  if (!areValid(view)) return;
  const policy = await perform(
    button,
    view.status,
    () => put(path("projects", view.project, "policy"), { thresholds }),
    "Saved; in force within two seconds, for records that arrive from now on.",
  );
  if (!policy) return;
  view.policy = policy;
  discardDraft(view);
}

function discardDraft(view) {
  view.draft = {};
  changeQuery({ try: null });
  for (const [name, { input }] of view.rows) {
    input.value = shortest(view.policy.thresholds[name]);
    showMark(view, name);
  }
  showActions(view);
}
