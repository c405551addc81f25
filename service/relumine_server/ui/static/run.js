// One run: alerts, heat map, learning rate and loss, layers by risk. Polled often while the run is running.

import { conditionalGet, path, poll } from "/static/api.js";
import { incidentCards, isOpen } from "/static/alert_card.js";
import { heatMap, lineChart } from "/static/charts.js";
import { count, el, facts, isBeingEdited, moment, number, replace, runLabel, share, table, tag } from "/static/dom.js";
import { layerPanel } from "/static/layer.js";
import { addOverview, emptyTraces, wentBack } from "/static/run_traces.js";

const RUNNING_POLL_MS = 2000;
const ENDED_POLL_MS = 15000; // a run that has ended may be resumed

export async function showRun({ root, signal }, runId, { layerId, alertId }) {
  const view = build(root, runId, signal);
  const getIfChanged = conditionalGet();
  let traces = emptyTraces();
  await poll(async () => {
    const query = traces.lastStep === null ? "" : `?after_step=${traces.lastStep}`;
    const overview = await getIfChanged(`${path("runs", runId, "overview")}${query}`, { signal });
    if (overview === null) return view.pollMs;
    if (wentBack(traces, overview)) {
      traces = emptyTraces();
      return 0;
    }
    addOverview(traces, overview);
    await render(view, overview, traces, layerId);
    if (alertId !== null && !signal.aborted) showTarget(view, alertId);
    return view.pollMs;
  }, signal);
}

function build(root, runId, signal) {
  const view = {
    runId,
    pollMs: RUNNING_POLL_MS,
    renderedAlerts: "",
    hasShownTarget: false,
    heading: el("h1", {}, "Run"),
    properties: el("div"),
    alerts: el("div"),
    heatMap: el("div", { class: "chart", id: "heat-map" }),
    learningRate: el("div", { class: "chart", id: "learning-rate" }),
    loss: el("div", { class: "chart", id: "loss", hidden: true }),
    layers: el("div"),
    layerPanel: layerPanel(runId, signal),
  };
  replace(root,
    el("p", {}, el("a", { href: "#/runs" }, "All runs")), view.heading, view.properties,
    el("h2", {}, "Alerts"), view.alerts,
    el("h2", {}, "Layers over time"), view.heatMap,
    el("div", { class: "pair" }, view.learningRate, view.loss),
    view.layerPanel.root,
    el("h2", {}, "Layers"), view.layers,
  );
  return view;
}

async function render(view, overview, traces, layerId) {
  const { run, layers, alerts } = overview;
  view.pollMs = run.status === "running" ? RUNNING_POLL_MS : ENDED_POLL_MS;
  document.title = `${runLabel(run)} · Relumine`;
  view.heading.textContent = runLabel(run);
  replace(view.properties, runFacts(run));
  renderAlerts(view, alerts);
  const openLayer = (id) => { location.hash = layerHash(view.runId, id); };
  const layersInOrder = [...layers].sort((a, b) => a.layer_id - b.layer_id);
  heatMap(view.heatMap, layersInOrder, traces.layers, alerts, openLayer);
  renderRunTrace(view, traces.run);
  const notice = el("p", { class: "notice" }, "No layers have been uploaded yet.");
  replace(view.layers, layers.length ? layerTable(view.runId, layers, layerId) : notice);
  const selected = layers.find((layer) => layer.layer_id === layerId);
  if (selected) await view.layerPanel.show(selected);
  else view.layerPanel.hide();
}

function renderAlerts(view, alerts) {
  const current = JSON.stringify(alerts);
  if (current === view.renderedAlerts || isBeingEdited(view.alerts)) return;
  view.renderedAlerts = current;
  const openFirst = [...alerts].sort((a, b) => Number(isOpen(b)) - Number(isOpen(a)));
  const cards = () => incidentCards(openFirst, { onChange: replaceAlert });
  function replaceAlert(changed) {
    document.activeElement?.blur();
    renderAlerts(view, alerts.map((alert) => (alert.id === changed.id ? changed : alert)));
  }
  replace(view.alerts, alerts.length ? cards() : el("p", { class: "notice" }, "There are no alerts."));
}

// Marks the alert of a link such as those in messages; the first time, scrolls to it. An alert that the page does not
// list has a page of its own.
function showTarget(view, alertId) {
  const target = view.alerts.querySelector(`[data-alert="${CSS.escape(alertId)}"]`);
  if (target === null) {
    if (!view.hasShownTarget) location.replace(`#/alerts/${encodeURIComponent(alertId)}`);
    return;
  }
  target.classList.add("target");
  if (view.hasShownTarget) return;
  view.hasShownTarget = true;
  for (let folded = target.closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
  document.getElementById(`alert-${alertId}`).focus({ preventScroll: true });
  target.scrollIntoView({ block: "center" });
}

function renderRunTrace(view, trace) {
  const line = (name, key, colour) => {
    const points = trace.step.map((step, index) => [step, trace[key][index]]).filter(([, value]) => value !== null);
    return { name, colour, x: points.map(([step]) => step), y: points.map(([, value]) => value) };
  };
  const learningRate = line("learning rate", "learning_rate", "accent");
  const logarithmic = learningRate.y.length > 0 && learningRate.y.every((value) => value > 0);
  lineChart(view.learningRate, "Learning rate", [learningRate], { logarithmic });
  const loss = line("loss", "loss", "info");
  view.loss.hidden = loss.x.length === 0;
  if (!view.loss.hidden) lineChart(view.loss, "Loss", [loss]);
}

function runFacts(run) {
  const dropped = Object.entries(run.dropped).map(([reason, steps]) => `${count(steps)} ${reason}`).join(", ");
  return facts([
    ["health", tag(run.health)],
    ["reason", run.health_reason],
    ["project", run.project],
    ["group", run.group],
    ["status", tag(run.status)],
    ["last step", count(run.last_step)],
    ["open alerts", count(run.open_alerts)],
    ["started", moment(run.started_at || run.created_at)],
    ["tags", run.tags.join(", ")],
    ["dropped sampled steps", dropped],
    ["watched", coverageText(run.coverage)],
    ["never used", (run.coverage?.unused || []).join(", ")],
    ["remarks", (run.coverage?.remarks || []).join("; ")],
    ["id", run.run_id],
  ]);
}

function coverageText(coverage) {
  if (!coverage) return "";
  const cannotDie = coverage.cannot_die ? `, ${count(coverage.cannot_die)} activations that cannot die` : "";
  return `${count(coverage.watched)} ReLUs, ${count(coverage.units)} units${cannotDie}`;
}

function layerHash(runId, layerId) {
  return `#/runs/${encodeURIComponent(runId)}/layers/${layerId}`;
}

function layerTable(runId, layers, selectedId) {
  const current = (layer) => (layer.layer_id === selectedId ? "true" : null);
  const link = (layer) => el("a", { href: layerHash(runId, layer.layer_id), id: `layer-${layer.layer_id}`, "aria-current": current(layer) }, layer.label);
  return table("Highest risk first. Select a layer to see its units.", [
    { title: "Layer", cell: link },
    { title: "State", cell: (layer) => tag(layer.state) },
    { title: "Risk", number: true, cell: (layer) => number(layer.risk) },
    { title: "Units", number: true, cell: (layer) => count(layer.units) },
    { title: "Active", number: true, cell: (layer) => share(layer.active_rate) },
    { title: "Dying", number: true, cell: (layer) => share(layer.dying_fraction) },
    { title: "Dead", number: true, cell: (layer) => share(layer.dead_fraction) },
    { title: "Born dead", number: true, cell: (layer) => share(layer.born_dead_fraction) },
    { title: "Last step", number: true, cell: (layer) => count(layer.last_step) },
  ], layers);
}
