// Charts by plotly.js. If it did not load, a sentence replaces each chart: the tables have the numbers too.

import { plain } from "/static/dom.js";

const MAX_COLUMNS = 600; // more than a screen shows; longer series are binned, and each bin shows its maximum
const COLOURS = ["text", "quiet", "line", "accent", "critical", "warning", "info", "surface"];

function theme() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function layout(title, extra) {
  const { text, line } = theme();
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  return {
    title: { text: title, font: { size: 14 }, x: 0, xanchor: "left", xref: "paper" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    margin: { l: 56, r: 16, t: 40, b: 40 },
    ...extra,
    xaxis: { ...axis, ...extra.xaxis },
    yaxis: { ...axis, ...extra.yaxis },
  };
}

// Draws a chart and returns true, or false without plotly. The description is the chart's text for screen readers.
function draw(node, description, traces, chartLayout) {
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", description);
  if (!window.Plotly) {
    node.textContent = `${description} (The chart could not be drawn: plotly.js did not load.)`;
    return false;
  }
  window.Plotly.react(node, traces, chartLayout, { displayModeBar: false, responsive: true });
  return true;
}

export function clear(node) {
  if (window.Plotly) window.Plotly.purge(node);
}

// Escapes a name: Plotly interprets some HTML in labels.
function label(name) {
  return plain(name).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function binSteps(steps) {
  if (steps.length <= MAX_COLUMNS) return steps.map((step) => [step]);
  const bins = Array.from({ length: MAX_COLUMNS }, () => []);
  steps.forEach((step, index) => bins[Math.floor((index * MAX_COLUMNS) / steps.length)].push(step));
  return bins;
}

function lostShare(trace, index) {
  const shares = [trace.dead_fraction[index], trace.born_dead_fraction[index], trace.dying_fraction[index]];
  const present = shares.filter((value) => value !== null);
  return present.length ? Math.min(1, present.reduce((sum, value) => sum + value, 0)) : null;
}

// Returns the maximum of the values, or null if all of them are missing.
function maximum(values) {
  const present = values.filter((value) => value !== null && value !== undefined);
  return present.length ? Math.max(0, ...present) : null;
}

// Returns the label of each layer's row by layer_id. Plotly joins rows of one label, so layers of one name get their id.
function rowLabels(layers) {
  const counts = new Map();
  for (const { label: text } of layers) counts.set(text, (counts.get(text) ?? 0) + 1);
  return new Map(layers.map(({ layer_id: id, label: text }) => [id, label(counts.get(text) > 1 ? `${text} (layer ${id})` : text)]));
}

// Draws a heat map of layers × steps and marks each alert at the step where it opened. layers are in the order of the
// model; traces is a Map from layer_id to the layer's trace.
export function heatMap(node, layers, traces, alerts, onLayer) {
  const steps = [...new Set(layers.flatMap((layer) => traces.get(layer.layer_id)?.step ?? []))].sort((a, b) => a - b);
  const bins = binSteps(steps);
  const rows = layers.map((layer) => {
    const trace = traces.get(layer.layer_id);
    const shareAt = new Map((trace?.step ?? []).map((step, index) => [step, lostShare(trace, index)]));
    return bins.map((bin) => maximum(bin.map((step) => shareAt.get(step))));
  });
  const labels = rowLabels(layers);
  const marked = alerts.filter((alert) => labels.has(alert.layer_id));
  const height = Math.min(900, Math.max(220, 110 + 22 * layers.length));
  node.style.height = `${height}px`;
  const chartLayout = layout("Dead, born dead and dying share of the units, by layer and step", {
    height, xaxis: { title: { text: "step" } }, yaxis: { type: "category", autorange: "reversed" },
  });
  const description = `Heat map of ${layers.length} layers over ${steps.length} steps: the share of dead and dying units; ${marked.length} alerts are marked.`;
  const plotlyTraces = [shareMap(bins, [...labels.values()], rows), alertMarkers(marked, labels)];
  if (!draw(node, description, plotlyTraces, chartLayout)) return;
  node.removeAllListeners?.("plotly_click");
  node.on("plotly_click", (event) => {
    const row = event.points[0]?.pointIndex;
    const layer = Array.isArray(row) ? layers[row[0]] : layers.find(({ layer_id: layerId }) => layerId === marked[row]?.layer_id);
    if (layer) onLayer(layer.layer_id);
  });
}

function shareMap(bins, names, rows) {
  const { surface, critical, warning } = theme();
  return {
    type: "heatmap", x: bins.map((bin) => bin.at(-1)), y: names, z: rows, zmin: 0, zmax: 1, hoverongaps: false,
    colorscale: [[0, surface], [0.3, warning], [1, critical]],
    colorbar: { tickformat: ".0%", thickness: 12 },
    hovertemplate: "%{y}<br>step %{x}<br>dead or dying %{z:.1%}<extra></extra>",
  };
}

function alertMarkers(alerts, labels) {
  const { text, surface } = theme();
  return {
    type: "scatter", mode: "markers", showlegend: false,
    x: alerts.map((alert) => alert.opened_step), y: alerts.map((alert) => labels.get(alert.layer_id)),
    text: alerts.map((alert) => label(alert.title)), hovertemplate: "%{text}<extra></extra>",
    marker: { symbol: "triangle-up", size: 11, color: text, line: { color: surface, width: 1 } },
  };
}

// lines: [{name, x, y, colour: "accent" | "critical" | …}]
export function lineChart(node, title, lines, { percent = false, logarithmic = false } = {}) {
  const colours = theme();
  const traces = lines.map(({ name, x, y, colour }) => ({
    type: "scatter", mode: x.length < 40 ? "lines+markers" : "lines", name, x, y,
    line: { color: colours[colour], width: 2 }, marker: { size: 5 },
  }));
  const chartLayout = layout(title, {
    showlegend: lines.length > 1,
    legend: { orientation: "h", y: -0.25 },
    height: 300,
    xaxis: { title: { text: "step" } },
    yaxis: { tickformat: percent ? ".0%" : "", rangemode: percent ? "tozero" : "normal", type: logarithmic ? "log" : "linear" },
  });
  draw(node, `${title}: ${lines.map((line) => `${line.name}, ${line.x.length} points`).join("; ")}.`, traces, chartLayout);
}

export function unitBars(node, title, rates) {
  const { accent } = theme();
  const bars = {
    type: "bar", x: rates.map((_, unit) => unit), y: rates, marker: { color: accent },
    hovertemplate: "unit %{x}<br>active on %{y:.1%}<extra></extra>",
  };
  const chartLayout = layout(title, { height: 300, bargap: 0, xaxis: { title: { text: "unit" } }, yaxis: { tickformat: ".0%", range: [0, 1] } });
  const silent = rates.filter((rate) => rate === 0).length;
  draw(node, `${title}: ${rates.length} units, ${silent} of them never active.`, [bars], chartLayout);
}
