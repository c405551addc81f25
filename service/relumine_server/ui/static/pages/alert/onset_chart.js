// The evidence as a chart: lost units and active rate of the layer, learning rate and loss, around the onset.

import { usualGap } from "../../charts/heat_map.js";
import { drawLines, drawStack } from "../../charts/lines.js";
import { nearest } from "../../charts/scale.js";
import { Timeline } from "../../charts/timeline.js";
import { changeQuery, readAddress } from "../../core/address.js";
import { el, replace } from "../../core/elements.js";
import { count, number, share } from "../../core/format.js";
import { UNIT_STATES, themeColours } from "../../core/states.js";
import { isOpen } from "../../parts/outcome.js";
import { readRecords } from "./records.js";

const WINDOW_STEPS = 200;
const FEW_POINTS = 10; // on each side of the onset
const NO_RECORDS = "The server has no records of these steps: they were deleted, or none was sent.";
const RANGES = { onset: "Around the onset", run: "Whole run" };

export class OnsetChart {
  constructor(alert, signal) {
    this.alert = alert;
    this.signal = signal;
    this.width = WINDOW_STEPS;
    this.data = null;
    this.timeline = new Timeline({ label: "Evidence over steps", signal });
    this.range = readAddress().query.get("range") === "run" ? "run" : "onset";
    this.buttons = Object.entries(RANGES).map(([name, title]) => this.rangeButton(name, title));
    this.legend = el("ul", { class: "event-legend" });
    this.message = el("p", { class: "quiet chart-message" }, "Loading the records …");
    const heading = el("h2", {}, "What happened");
    const ranges = el("span", { class: "actions" }, this.buttons);
    const head = el("div", { class: "timeline-head" }, heading, ranges, this.timeline.reset);
    this.root = el("section", { class: "onset-chart" }, head, this.legend, this.message, this.timeline.root);
    this.timeline.root.hidden = true;
    this.markButtons();
  }

  rangeButton(name, title) {
    return el("button", { type: "button", class: "small", id: `range-${name}`, click: () => this.setRange(name) }, title);
  }

  setRange(name) {
    this.range = name;
    changeQuery({ range: name === "onset" ? null : name });
    this.markButtons();
    this.timeline.zoomTo(null);
    this.data = null;
    this.refresh(this.alert).catch((error) => {
      if (!this.signal.aborted) this.message.textContent = error.message;
    });
  }

  markButtons() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.id === `range-${this.range}`));
  }

  // Reads the records again, unless all that the window can hold are there.
  async refresh(alert) {
    const isChanged = JSON.stringify(alert) !== JSON.stringify(this.alert);
    this.alert = alert;
    if (this.data === null || isChanged || (isOpen(alert) && !this.isFull())) await this.read();
  }

  isFull() {
    return this.range === "onset" && (this.data.step.at(-1) ?? -1) >= this.window()[1];
  }

  window() {
    if (this.range === "run") return [null, null];
    const steps = keySteps(this.alert);
    return [Math.max(0, Math.min(...steps) - this.width), Math.max(...steps) + this.width];
  }

  async read() {
    const { range } = this;
    let data = await this.readWindow();
    const width = wideEnough(data.step);
    if (range === "onset" && width > this.width) {
      this.width = width;
      data = await this.readWindow();
    }
    if (range === this.range) this.render(data);
  }

  async readWindow() {
    const records = await readRecords(this.alert, this.window(), this.signal);
    return { ...records, step: this.alert.layer_id ? records.layer.step : records.run.step };
  }

  render(data) {
    this.data = data;
    const events = eventsOf(this.alert);
    const steps = [...data.run.step, ...data.layer.step];
    this.timeline.root.hidden = !steps.length;
    this.message.hidden = Boolean(steps.length);
    if (!steps.length) this.message.textContent = NO_RECORDS;
    const visibleSteps = this.range === "onset" ? [...steps, ...events.map(({ step }) => step)] : steps;
    const [from, to] = this.window();
    this.timeline.setDomain(Math.max(from ?? 0, least(visibleSteps)), Math.min(to ?? Infinity, most(visibleSteps)));
    this.timeline.setLanes(lanes(data, events, this.alert));
    replace(
      this.legend,
      events.map(({ icon, tone, text, step }) =>
        el("li", {}, el("span", { class: `icon ${tone}`, "aria-hidden": "true" }, icon), ` ${text}: step ${count(step)}`),
      ),
    );
  }
}

// Where few steps are sampled, 200 steps are no picture.
function wideEnough(steps) {
  return steps.length < 2 ? WINDOW_STEPS * FEW_POINTS : usualGap(steps) * FEW_POINTS;
}

function least(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

function most(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

function keySteps({ opened_step: opened, dead_step: dead, evidence }) {
  return [opened, dead, evidence.onset_step].filter((step) => step !== null && step !== undefined);
}

function eventsOf(alert) {
  const { evidence } = alert;
  const all = [
    { icon: "↕", tone: "info", text: "learning rate changed", step: evidence.learning_rate?.changed_at_step },
    { icon: "≋", tone: "info", text: "input changed", step: evidence.input?.changed_at_step },
    { icon: "◆", tone: "quiet", text: "onset", step: evidence.onset_step },
    { icon: "▲", tone: "warning", text: "opened", step: alert.opened_step },
    { icon: "✕", tone: "critical", text: "dead", step: alert.dead_step },
    ...(alert.remedy_outcomes || []).map(({ action, step }) => ({
      icon: "✚",
      tone: "info",
      text: action.replaceAll("_", " ").trim(),
      step,
    })),
    { icon: "✓", tone: "info", text: "resolved", step: alert.resolved_step },
    { icon: "■", tone: "quiet", text: "run ended", step: alert.ended_step },
  ];
  return all.filter(({ step }) => step !== null && step !== undefined);
}

function lanes({ run, layer, loss }, events, alert) {
  const last = ({ statistics }, name) => statistics[name]?.last || [];
  const line = (name, title, step, value, options) => lineLane({ name, title, step, value, events, ...options });
  const ofRun = (name, title) => line(name, title, run.step, last(run, name), { fromZero: true });
  const rate = last(layer, "active_rate");
  const activeRate = () => line("active", "Active rate", layer.step, rate, { isShare: true, format: share });
  return [
    markLane(events),
    ...(alert.layer_id ? [lostLane(layer, last, events), activeRate()] : []),
    ofRun("learning_rate", "Learning rate"),
    line("loss", "Loss", loss.step, loss.value, {}),
    alert.kind === "constant_output" ? ofRun("output_spread", "Spread of the output") : null,
  ].filter(Boolean);
}

// Of several events at a step the last one has the mark; the list above names them all.
function markLane(events) {
  const byStep = new Map(events.map((event) => [event.step, event]));
  const marks = [...byStep.values()].map(({ icon, tone, step }) => ({
    step,
    node: el("span", { class: `mark ${tone}`, "aria-hidden": "true" }, icon),
  }));
  return {
    key: "marks",
    title: "Events",
    titleVersion: 1,
    height: 22,
    marks,
    draw: () => {},
    hover: (step) => eventNear(events, step),
  };
}

function eventNear(events, step) {
  const steps = events.map((event) => event.step).sort((a, b) => a - b);
  const index = nearest(steps, step);
  return index < 0
    ? ""
    : events
        .filter((event) => event.step === steps[index])
        .map(({ text }) => `${text}: step ${count(steps[index])}`)
        .join("\n");
}

function lostLane(layer, last, events) {
  const states = UNIT_STATES.map((state) => ({ ...state, value: last(layer, state.column) }));
  const legend = states.map(({ name, colour }) => el("span", {}, el("i", { style: `background: var(--${colour})` }), name));
  const stack = [...states].sort((a, b) => STACK.indexOf(a.name) - STACK.indexOf(b.name));
  return {
    key: "lost",
    titleVersion: 1,
    height: 130,
    title: ["Lost units", el("div", { class: "legend" }, legend)],
    draw: (context, view) => {
      drawStack(context, view, layer.step, stack, 130);
      drawEvents(context, view, events, 130);
    },
    hover: (step) => {
      const index = nearest(layer.step, step);
      const parts = states.map(({ name, value }) => `${share(value[index])} ${name}`);
      return index < 0 ? "" : `step ${count(layer.step[index])}: ${parts.join(", ")}`;
    },
  };
}

const STACK = ["born dead", "dead", "dying"]; // from the bottom

// A quantity that was not sent has no lane.
function lineLane({ name, title, step, value, events, isShare = false, fromZero = false, format = number }) {
  if (!value.some((item) => item !== null && item !== undefined)) return null;
  const height = 78;
  return {
    key: name,
    title,
    titleVersion: 1,
    height,
    draw: (context, view) => {
      drawLines(context, view, [{ name: title, step, value, colour: "accent" }], { height, isShare, fromZero });
      drawEvents(context, view, events, height);
    },
    hover: (at) => {
      const index = nearest(step, at);
      return index < 0 ? "" : `step ${count(step[index])}: ${title.toLowerCase()} ${format(value[index])}`;
    },
  };
}

const LINE_COLOURS = { warning: "dying-text", critical: "dead", info: "info", quiet: "quiet" };

function drawEvents(context, view, events, height) {
  const colours = themeColours(...Object.values(LINE_COLOURS));
  context.setLineDash([4, 3]);
  context.lineWidth = 1;
  for (const { step, tone } of events) {
    if (step < view.from || step > view.to) continue;
    context.strokeStyle = colours[LINE_COLOURS[tone]];
    context.beginPath();
    context.moveTo(Math.round(view.toX(step)) + 0.5, 0);
    context.lineTo(Math.round(view.toX(step)) + 0.5, height);
    context.stroke();
  }
  context.setLineDash([]);
}
