// The charts of several runs over one axis: lost share of the worst layer, loss, learning rate, and a heat map each.

import { describeRecord, drawHeatMap } from "../../charts/heat_map.js";
import { drawLines, smooth } from "../../charts/lines.js";
import { nearest } from "../../charts/scale.js";
import { Timeline } from "../../charts/timeline.js";
import { changeQuery, readAddress, runAddress } from "../../core/address.js";
import { download, el, replace, runLabel } from "../../core/elements.js";
import { count, number, share } from "../../core/format.js";
import { UNIT_STATES } from "../../core/states.js";
import { smoothingChoice } from "../../parts/smoothing.js";
import { valuesCsv } from "./values_csv.js";
import { colourOf, dashOf, swatch } from "./slots.js";

const LINE_HEIGHT = 120;
const MAP_HEIGHT = { perLayer: 6, least: 36, most: 150 };

export class CompareCharts {
  constructor(signal) {
    const { query } = readAddress();
    this.isLogarithmic = query.get("log") === "1";
    this.entries = [];
    this.timeline = new Timeline({ label: "Runs over steps", signal, onZoom: ({ from, to }) => changeQuery({ from, to }) });
    const [from, to] = [Number(query.get("from")), Number(query.get("to"))];
    if (to > from) this.timeline.zoomTo([from, to]);
    this.logButton = el(
      "button",
      { type: "button", class: "small", id: "log-loss", click: () => this.toggleLog() },
      "Logarithmic loss",
    );
    this.smoothing = smoothingChoice(() => this.show(this.entries));
    const picture = button("Charts as PNG", () => this.timeline.picture().toBlob((blob) => download("comparison.png", blob)));
    const values = button("Values as CSV", () => download("comparison.csv", valuesCsv(this.entries, this.worst)));
    this.legend = el("ul", { class: "compare-legend" });
    this.root = el(
      "section",
      { class: "compare-charts", hidden: true },
      el("div", { class: "actions" }, this.smoothing.root, this.logButton, this.timeline.reset, picture, values, stateLegend()),
      this.legend,
      this.timeline.root,
    );
    this.markLog();
  }

  toggleLog() {
    this.isLogarithmic = !this.isLogarithmic;
    changeQuery({ log: this.isLogarithmic ? 1 : null });
    this.markLog();
    this.show(this.entries);
  }

  markLog() {
    this.logButton.setAttribute("aria-pressed", String(this.isLogarithmic));
  }

  show(entries) {
    this.entries = entries;
    this.root.hidden = !entries.length;
    if (!entries.length) return;
    this.worst = new Map(entries.map((entry) => [entry, worstLayer(entry.overview.traces)]));
    const factor = this.smoothing.factor();
    const runTrace = (name) => (entry) => ({ step: entry.overview.run_trace.step, value: entry.overview.run_trace[name] });
    const loss = (entry) => smoothed(runTrace("loss")(entry), factor);
    const line = (key, title, read, options) => lineLane(entries, { key, title, read, ...options });
    const lanes = [
      line("lost", "Lost units of the worst layer", (entry) => this.worst.get(entry), { isShare: true, format: share }),
      line("loss", factor ? "Loss (smoothed)" : "Loss", loss, { isLogarithmic: this.isLogarithmic }),
      line("rate", "Learning rate", runTrace("learning_rate"), { fromZero: true }),
      ...entries.map(mapLane),
    ];
    this.timeline.setDomain(...domain(entries));
    this.timeline.setLanes(lanes.filter(Boolean));
    replace(
      this.legend,
      entries.map((entry) =>
        el("li", { title: runLabel(entry.overview.run) }, swatch(entry), el("span", {}, runLabel(entry.overview.run))),
      ),
    );
  }
}

function button(text, click) {
  return el("button", { type: "button", class: "small", click }, text);
}

function smoothed({ step, value }, factor) {
  return { step, value: factor ? smooth(value, factor) : value };
}

function stateLegend() {
  const states = [{ name: "nothing lost", colour: "healthy" }, ...UNIT_STATES];
  const items = states.map(({ name, colour }) => el("span", {}, el("i", { style: `background: var(--${colour})` }), name));
  return el("span", { class: "legend" }, "Heat maps:", items, el("span", {}, el("i", { class: "hatched" }), "no data"));
}

// Returns the share of lost units of the layer that has lost the most, at each sampled step.
export function worstLayer(traces) {
  const worst = new Map();
  for (const trace of traces) {
    for (const [index, step] of trace.step.entries()) {
      const parts = UNIT_STATES.map(({ column }) => trace[column][index]).filter(
        (value) => value !== null && value !== undefined,
      );
      if (!parts.length) continue;
      const lost = parts.reduce((sum, value) => sum + value, 0);
      if (!(worst.get(step) >= lost)) worst.set(step, lost);
    }
  }
  const step = [...worst.keys()].sort((a, b) => a - b);
  return { step, value: step.map((at) => worst.get(at)) };
}

function domain(entries) {
  let [first, last] = [Infinity, -Infinity];
  for (const { overview } of entries) {
    for (const { step } of [overview.run_trace, ...overview.traces]) {
      if (!step.length) continue;
      first = Math.min(first, step[0]);
      last = Math.max(last, step.at(-1));
    }
  }
  return first > last ? [0, 1] : [first, last];
}

function lineLane(entries, { key, title, read, format = number, ...options }) {
  const lines = entries.map((entry) => ({
    name: runLabel(entry.overview.run),
    colour: colourOf(entry),
    dash: dashOf(entry),
    ...read(entry),
  }));
  const present = lines.filter(({ value }) => value.some((item) => item !== null && item !== undefined));
  if (!present.length) return null;
  return {
    key,
    title,
    titleVersion: title,
    height: LINE_HEIGHT,
    draw: (context, view) => drawLines(context, view, present, { height: LINE_HEIGHT, ...options }),
    hover: (step) =>
      [`step ${count(step)}`, ...present.map((line) => `${shorten(line.name)}: ${format(valueNear(line, step))}`)].join("\n"),
  };
}

function valueNear({ step, value }, at) {
  if (!step.length || at > step.at(-1) || at < step[0]) return null;
  return value[nearest(step, at)];
}

function mapLane(entry) {
  const { overview, id } = entry;
  const label = runLabel(overview.run);
  const traces = [...overview.traces].sort((a, b) => a.layer_id - b.layer_id);
  const names = new Map(overview.layers.map((layer) => [layer.layer_id, layer.label]));
  const height = Math.min(MAP_HEIGHT.most, Math.max(MAP_HEIGHT.least, traces.length * MAP_HEIGHT.perLayer));
  const rows = traces.map((trace) => ({ traces: [trace] }));
  return {
    key: `map-${id}`,
    titleVersion: `${entry.slot} ${label}`,
    height,
    title: [swatch(entry), el("a", { href: runAddress(id) }, label)],
    draw: (context, view) => drawHeatMap(context, view, rows, height),
    hover: (step, y) => {
      const trace = traces[Math.min(traces.length - 1, Math.floor((y / height) * traces.length))];
      return trace ? `${names.get(trace.layer_id)}\n${describeRecord(trace, step)}` : "";
    },
  };
}

function shorten(text) {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
