// Charts by plotly.js. Where it did not load, a sentence stands in: every number is in the tables as well.

import { plain } from "/static/dom.js";

const COLUMNS = 600; // more than a screen shows; wider series are binned, the worst of a bin kept
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

// Draws, and says whether it could. The chart has a text that says what it shows, for those who do not see it.
function draw(node, description, traces, shape) {
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", description);
  if (!window.Plotly) {
    node.textContent = `${description} (The chart could not be drawn: plotly.js did not load.)`;
    return false;
  }
  window.Plotly.react(node, traces, shape, { displayModeBar: false, responsive: true });
  return true;
}

export function clear(node) {
  if (window.Plotly) window.Plotly.purge(node);
}

// Plotly reads a little HTML in labels; a layer's name must stay what it is.
function label(name) {
  return plain(name).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function binned(steps) {
  if (steps.length <= COLUMNS) return steps.map((step) => [step]);
  const bins = Array.from({ length: COLUMNS }, () => []);
  steps.forEach((step, index) => bins[Math.floor((index * COLUMNS) / steps.length)].push(step));
  return bins;
}

function sick(trace, index) {
  const [dead, dying] = [trace.dead_fraction[index], trace.dying_fraction[index]];
  return dead === null && dying === null ? null : Math.min(1, (dead ?? 0) + (dying ?? 0));
}

function worst(values) {
  return values.reduce((most, value) => (value === null || value === undefined ? most : Math.max(most ?? 0, value)), null);
}

// layers × steps; layers in the order of the model, traces: Map of layer_id to trace, alerts marked where they opened
export function heatMap(node, layers, traces, alerts, onLayer) {
  const steps = [...new Set(layers.flatMap((layer) => traces.get(layer.layer_id)?.step ?? []))].sort((a, b) => a - b);
  const bins = binned(steps);
  const rows = layers.map((layer) => {
    const trace = traces.get(layer.layer_id);
    const at = new Map((trace?.step ?? []).map((step, index) => [step, sick(trace, index)]));
    return bins.map((bin) => worst(bin.map((step) => at.get(step) ?? null)));
  });
  const named = new Map(layers.map((layer) => [layer.layer_id, label(layer.name)]));
  const marked = alerts.filter((alert) => named.has(alert.layer_id));
  const height = Math.min(900, Math.max(220, 110 + 22 * layers.length));
  node.style.height = `${height}px`;
  const shape = layout("Dead and dying share of the units, by layer and step", {
    height, xaxis: { title: { text: "step" } }, yaxis: { type: "category", autorange: "reversed" },
  });
  const described = `Heat map of ${layers.length} layers over ${steps.length} steps: the share of dead and dying units; ${marked.length} alerts are marked.`;
  const traced = [shares(bins, [...named.values()], rows), marks(marked, named)];
  if (!draw(node, described, traced, shape)) return;
  node.removeAllListeners?.("plotly_click");
  node.on("plotly_click", (event) => {
    const row = event.points[0]?.pointIndex;
    const layer = Array.isArray(row) ? layers[row[0]] : layers.find((each) => each.layer_id === marked[row]?.layer_id);
    if (layer) onLayer(layer.layer_id);
  });
}

function shares(bins, names, rows) {
  const { surface, critical, warning } = theme();
  return {
    type: "heatmap", x: bins.map((bin) => bin.at(-1)), y: names, z: rows, zmin: 0, zmax: 1, hoverongaps: false,
    colorscale: [[0, surface], [0.3, warning], [1, critical]],
    colorbar: { tickformat: ".0%", thickness: 12 },
    hovertemplate: "%{y}<br>step %{x}<br>dead or dying %{z:.1%}<extra></extra>",
  };
}

function marks(alerts, named) {
  const { text, surface } = theme();
  return {
    type: "scatter", mode: "markers", showlegend: false,
    x: alerts.map((alert) => alert.opened_step), y: alerts.map((alert) => named.get(alert.layer_id)),
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
  const shape = layout(title, {
    showlegend: lines.length > 1,
    legend: { orientation: "h", y: -0.25 },
    height: 300,
    xaxis: { title: { text: "step" } },
    yaxis: { tickformat: percent ? ".0%" : "", rangemode: percent ? "tozero" : "normal", type: logarithmic ? "log" : "linear" },
  });
  draw(node, `${title}: ${lines.map((line) => `${line.name}, ${line.x.length} points`).join("; ")}.`, traces, shape);
}

export function unitBars(node, title, rates) {
  const { accent } = theme();
  const bars = {
    type: "bar", x: rates.map((_, unit) => unit), y: rates, marker: { color: accent },
    hovertemplate: "unit %{x}<br>active on %{y:.1%}<extra></extra>",
  };
  const shape = layout(title, { height: 300, bargap: 0, xaxis: { title: { text: "unit" } }, yaxis: { tickformat: ".0%", range: [0, 1] } });
  const silent = rates.filter((rate) => rate === 0).length;
  draw(node, `${title}: ${rates.length} units, ${silent} of them never active.`, [bars], shape);
}
