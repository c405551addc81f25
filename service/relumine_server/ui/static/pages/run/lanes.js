// The lanes of a run's timeline: alerts, sampled steps, the heat map of its layers, learning rate, loss, kill ratio, update ratio.

import { describeRecord, drawHeatMap, longestGapAt } from "../../charts/heat_map.js";
import { drawLines, smooth } from "../../charts/lines.js";
import { nearest } from "../../charts/scale.js";
import { alertAddress, layerAddress } from "../../core/address.js";
import { el } from "../../core/elements.js";
import { count, number } from "../../core/format.js";
import { themeColours } from "../../core/states.js";
import { layerRows } from "./layer_rows.js";
import { describeRateChange, drawRateChanges, rateChanges } from "./rate_changes.js";

const ALERT_HEIGHT = 22;
const SAMPLED_HEIGHT = 12;
const LINE_HEIGHT = 96;
const LOSS_HEIGHT = 140;
const HEAT_HEIGHT = { least: 160, most: 480 };
const ROW_HEIGHT = { least: 8, most: 20 };
const LOG_FROM_RATIO = 20; // a range this wide is easier to read on a logarithmic axis
const LEAST_KILL_RATIO = 1e-3; // nothing moves the units of a dead layer: how little that is says nothing
const MARKS = { critical: "✕", warning: "▲", info: "i" };

// options: {runId, layers, alerts, traces, sampled, folds, onFold, smoothing, isLossLogarithmic}
export function runLanes(options) {
  const { traces } = options;
  const lanes = [alertLane(options), sampledLane(options), heatLane(options)];
  if (hasValues(traces.run.learning_rate))
    lanes.push(lineLane("learning rate", "Learning rate", traces.run.step, traces.run.learning_rate, "accent"));
  if (hasValues(traces.run.loss)) lanes.push(lossLane(options));
  if (traces.run.kill_ratio.some((value) => value > 0))
    lanes.push(killRatioLane(traces.run));
  if (hasValues(traces.run.update_ratio))
    lanes.push(lineLane("update ratio", "Update ratio", traces.run.step, traces.run.update_ratio, "info"));
  return lanes;
}

let lastMarks = { version: "", marks: [] }; // of the page that is shown

function alertMarks(alerts) {
  const version = JSON.stringify(alerts.map(({ id, opened_step: step, severity, title }) => [id, step, severity, title]));
  if (version !== lastMarks.version) lastMarks = { version, marks: alerts.map(alertMark) };
  return lastMarks.marks;
}

function alertMark(alert) {
  const text = `${alert.title}, step ${alert.opened_step}`;
  const properties = { class: `mark ${alert.severity}`, href: alertAddress(alert.id), title: text, "aria-label": text };
  return { step: alert.opened_step, node: el("a", properties, MARKS[alert.severity]) };
}

function alertLane({ alerts }) {
  return { key: "alerts", title: "Alerts", titleVersion: "", height: ALERT_HEIGHT, marks: alertMarks(alerts) };
}

function sampledLane({ sampled }) {
  return {
    key: "sampled",
    title: "Sampled steps",
    titleVersion: "",
    height: SAMPLED_HEIGHT,
    draw(context, view) {
      context.fillStyle = themeColours("quiet").quiet;
      let drawn = -1;
      for (const step of sampled) {
        const x = Math.round(view.toX(step));
        if (x === drawn || x < 0 || x > view.width) continue;
        context.fillRect(x, 2, 1, SAMPLED_HEIGHT - 4);
        drawn = x;
      }
    },
    hover(step) {
      const index = nearest(sampled, step);
      if (index < 0) return "no step was sampled";
      const distance = Math.abs(sampled[index] - step);
      return distance > longestGapAt(sampled, index)
        ? `not sampled around step ${count(step)}`
        : `sampled: step ${count(sampled[index])}`;
    },
  };
}

function heatLane({ runId, layers, alerts, traces, folds, onFold }) {
  const divergedFrom = alerts.find((alert) => alert.kind === "diverged")?.opened_step ?? null;
  const rows = layerRows(layers, traces.layers, folds, HEAT_HEIGHT.most / ROW_HEIGHT.least);
  const wanted = rows.length * ROW_HEIGHT.most;
  const least = Math.max(rows.length * ROW_HEIGHT.least, ROW_HEIGHT.most); // after the reader has unfolded many
  const height = Math.round(Math.max(Math.min(wanted, HEAT_HEIGHT.most), Math.min(HEAT_HEIGHT.least, wanted), least));
  const rowHeight = height / Math.max(1, rows.length);
  const rowAt = (y) => rows[Math.max(0, Math.min(rows.length - 1, Math.floor(y / rowHeight)))];
  const open = (row) =>
    row.layers.length === 1 ? (location.hash = layerAddress(runId, row.layers[0].layer_id)) : onFold(row.prefix);
  return {
    key: "layers",
    height,
    rows,
    title: () => rows.map((row) => rowTitle(row, runId, rowHeight, onFold)),
    titleVersion: JSON.stringify(rows.map((row) => [row.label, row.layers.length])),
    draw: (context, view) => drawHeatMap(context, view, rows, height, divergedFrom),
    click: (_, y) => open(rowAt(y)),
    hover(step, y) {
      const row = rowAt(y);
      if (!row) return "";
      if (divergedFrom !== null && step >= divergedFrom)
        return `${row.label}\nvalues are not finite since step ${count(divergedFrom)}`;
      return row.traces.length === 1
        ? `${row.label}\n${describeRecord(row.traces[0], step)}`
        : `${row.label}: ${row.layers.length} layers, the worst is shown`;
    },
  };
}

function rowTitle(row, runId, rowHeight, onFold) {
  const style = `height:${rowHeight}px;line-height:${rowHeight}px;font-size:${Math.max(7, Math.min(12, rowHeight - 1))}px`;
  if (row.layers.length > 1)
    return el(
      "button",
      { type: "button", class: "row", style, title: `Show the layers of ${row.label}`, click: () => onFold(row.prefix) },
      `▸ ${row.label} (${row.layers.length})`,
    );
  const [layer] = row.layers;
  return el("a", { class: "row", style, title: row.label, href: layerAddress(runId, layer.layer_id) }, row.label);
}

function lossLane({ traces, smoothing, isLossLogarithmic }) {
  const { step, loss, learning_rate: rate } = traces.run;
  const changes = rateChanges(step, rate);
  const style = { height: LOSS_HEIGHT, isLogarithmic: isLossLogarithmic };
  const lane = lineLane("loss", "Loss", step, loss, "text", style);
  const smoothed = [
    { step, value: loss, colour: "no-data", width: 1 },
    { step, value: smooth(loss, smoothing), colour: "text" },
  ];
  return {
    ...lane,
    draw(context, view) {
      drawRateChanges(context, view, changes, LOSS_HEIGHT);
      drawLines(context, view, smoothing ? smoothed : [{ step, value: loss, colour: "text" }], style);
    },
    hover(at, y, view) {
      return [lane.hover(at), describeRateChange(changes, view, at)].filter(Boolean).join("\n");
    },
  };
}

export function killRatioLane({ step, kill_ratio: value }) {
  return lineLane("kill ratio", "Kill ratio, worst layer", step, value, "dying", { least: LEAST_KILL_RATIO });
}

// options: {height, isLogarithmic, least}: smaller values than `least` are drawn there.
export function lineLane(key, title, step, value, colour, options = {}) {
  const { height = LINE_HEIGHT, least = -Infinity } = options;
  const drawn = value.map((y) => (y === null ? null : Math.max(y, least)));
  const isLogarithmic = options.isLogarithmic ?? isWide(drawn);
  return {
    key,
    title: isLogarithmic ? `${title} (log)` : title,
    titleVersion: String(isLogarithmic),
    height,
    draw: (context, view) => drawLines(context, view, [{ step, value: drawn, colour }], { height, isLogarithmic }),
    hover(at) {
      const index = nearest(step, at);
      return index < 0 ? "" : `step ${count(step[index])}: ${title.toLowerCase()} ${number(value[index])}`;
    },
  };
}

function isWide(values) {
  let low = Infinity;
  let high = 0;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    if (value <= 0) return false;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high / low > LOG_FROM_RATIO;
}

function hasValues(values) {
  return values.some((value) => value !== null);
}
