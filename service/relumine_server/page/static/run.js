// One run: alerts in words, the heat map, learning rate and loss, the layers by risk. Live while it trains.

import { conditional, path, poll } from "/static/api.js";
import { alertCard, isOpen } from "/static/alert_card.js";
import { heatMap, lineChart } from "/static/charts.js";
import { count, el, facts, isBeingEdited, moment, number, replace, runLabel, share, table, tag } from "/static/dom.js";
import { add, history, startedOver } from "/static/history.js";
import { layerPanel } from "/static/layer.js";

const LIVE_MS = 2000;
const QUIET_MS = 15000; // a finished run may be taken up again

export async function showRun({ root, signal }, runId, layerId) {
  const view = build(root, runId, signal);
  const ask = conditional();
  let known = history();
  await poll(async () => {
    const since = known.step === null ? "" : `?after_step=${known.step}`;
    const overview = await ask(`${path("runs", runId, "overview")}${since}`, { signal });
    if (overview === null) return view.waitMs;
    if (startedOver(known, overview)) {
      known = history();
      return 0;
    }
    add(known, overview);
    await render(view, overview, known, layerId);
    return view.waitMs;
  }, signal);
}

function build(root, runId, signal) {
  const view = {
    runId,
    waitMs: LIVE_MS,
    alertsShown: "",
    heading: el("h1", {}, "Run"),
    about: el("div"),
    alerts: el("div"),
    map: el("div", { class: "chart", id: "heat-map" }),
    rate: el("div", { class: "chart", id: "learning-rate" }),
    loss: el("div", { class: "chart", id: "loss", hidden: true }),
    layers: el("div"),
    layer: layerPanel(runId, signal),
  };
  replace(root,
    el("p", {}, el("a", { href: "#/runs" }, "All runs")), view.heading, view.about,
    el("h2", {}, "Alerts"), view.alerts,
    el("h2", {}, "Layers over time"), view.map,
    el("div", { class: "pair" }, view.rate, view.loss),
    view.layer.root,
    el("h2", {}, "Layers"), view.layers,
  );
  return view;
}

async function render(view, overview, known, layerId) {
  const { run, layers, alerts } = overview;
  view.waitMs = run.state === "running" ? LIVE_MS : QUIET_MS;
  document.title = `${runLabel(run)} · Relumine`;
  view.heading.textContent = runLabel(run);
  replace(view.about, describe(run));
  renderAlerts(view, alerts);
  const open = (id) => { location.hash = layerHash(view.runId, id); };
  heatMap(view.map, [...layers].sort((a, b) => a.layer_id - b.layer_id), known.traces, alerts, open);
  renderRunTrace(view, known.run);
  const none = el("p", { class: "notice" }, "No layer has been described yet.");
  replace(view.layers, layers.length ? layerTable(view.runId, layers, layerId) : none);
  const chosen = layers.find((layer) => layer.layer_id === layerId);
  if (chosen) await view.layer.show(chosen);
  else view.layer.hide();
}

function renderAlerts(view, alerts) {
  const now = JSON.stringify(alerts);
  if (now === view.alertsShown || isBeingEdited(view.alerts)) return;
  view.alertsShown = now;
  const ordered = [...alerts].sort((a, b) => Number(isOpen(b)) - Number(isOpen(a)));
  const cards = () => el("ul", { class: "cards" }, ordered.map((alert) => alertCard(alert, { onChange: changed })));
  function changed(alert) {
    document.activeElement?.blur();
    renderAlerts(view, alerts.map((each) => (each.id === alert.id ? alert : each)));
  }
  replace(view.alerts, alerts.length ? cards() : el("p", { class: "notice" }, "Nothing to report: no layer is dying."));
}

function renderRunTrace(view, trace) {
  const line = (name, key, colour) => {
    const kept = trace.step.map((step, index) => [step, trace[key][index]]).filter(([, value]) => value !== null);
    return { name, colour, x: kept.map(([step]) => step), y: kept.map(([, value]) => value) };
  };
  const rate = line("learning rate", "learning_rate", "accent");
  lineChart(view.rate, "Learning rate", [rate], { logarithmic: rate.y.length > 0 && rate.y.every((value) => value > 0) });
  const loss = line("loss", "loss", "info");
  view.loss.hidden = loss.x.length === 0;
  if (!view.loss.hidden) lineChart(view.loss, "Loss", [loss]);
}

function describe(run) {
  const dropped = Object.entries(run.dropped).map(([reason, lost]) => `${count(lost)} ${reason}`).join(", ");
  return facts([
    ["project", run.project],
    ["group", run.group],
    ["state", tag(run.state)],
    ["last step", count(run.last_step)],
    ["open alerts", count(run.open_alerts)],
    ["started", moment(run.started_at || run.created_at)],
    ["tags", run.tags.join(", ")],
    ["dropped records", dropped],
    ["watched", watched(run.coverage)],
    ["never used", (run.coverage?.unused || []).join(", ")],
    ["remarks", (run.coverage?.remarks || []).join("; ")],
    ["id", run.run_id],
  ]);
}

function watched(coverage) {
  if (!coverage) return "";
  const more = coverage.cannot_die ? `, ${count(coverage.cannot_die)} activations that cannot die` : "";
  return `${count(coverage.watched)} ReLUs, ${count(coverage.units)} units${more}`;
}

function layerHash(runId, layerId) {
  return `#/runs/${encodeURIComponent(runId)}/layers/${layerId}`;
}

function layerTable(runId, layers, chosen) {
  const current = (layer) => (layer.layer_id === chosen ? "true" : null);
  const name = (layer) => el("a", { href: layerHash(runId, layer.layer_id), id: `layer-${layer.layer_id}`, "aria-current": current(layer) }, layer.name);
  return table("Those at most risk first. A layer's link shows its units.", [
    { title: "Layer", cell: name },
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
