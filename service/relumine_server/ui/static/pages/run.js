// The page of a run: its head, its incident, one timeline for everything that has a step, and tabs below.

import { Timeline } from "../charts/timeline.js";
import { alertAddress, changeQuery, readAddress } from "../core/address.js";
import { conditionalGet, path, withQuery } from "../core/api.js";
import { download, el, isBeingEdited, replace } from "../core/elements.js";
import { counted } from "../core/format.js";
import { permissions } from "../core/login.js";
import { poll } from "../core/poll.js";
import { byIncident, incidentCard } from "../parts/incident_card.js";
import { runHead } from "./run/head.js";
import { runLanes } from "./run/lanes.js";
import { runTabs } from "./run/tabs.js";
import { timelineControls } from "./run/timeline_controls.js";
import { addOverview, emptyTraces, sampledSteps, stepRange, wentBack } from "./run/traces.js";

const RUNNING_POLL_MS = 2000;
const ENDED_POLL_MS = 15000; // a run that has ended may be resumed

export async function showRun({ root, signal }, runId, query) {
  const page = new RunPage(root, runId, signal, query.get("alert"));
  const rights = permissions();
  const getIfChanged = conditionalGet();
  let traces = emptyTraces();
  const update = async () => {
    const address = withQuery(path("runs", runId, "overview"), { after_step: traces.lastStep });
    const overview = await getIfChanged(address, { signal });
    page.rights = await rights;
    if (overview === null) return page.pollMs;
    if (wentBack(traces, overview)) {
      traces = emptyTraces();
      return 0;
    }
    addOverview(traces, overview);
    page.show(overview, traces);
    return page.pollMs;
  };
  await poll(update, signal, page.pause);
}

class RunPage {
  constructor(root, runId, signal, alertId) {
    this.runId = runId;
    this.alertId = alertId;
    this.folds = new Map();
    this.pollMs = RUNNING_POLL_MS;
    this.renderedIncidents = "";
    this.head = runHead(runId, () => this.savePicture());
    this.pause = this.head.pause;
    this.incidents = el("div", { id: "incident" });
    this.timeline = new Timeline({
      label: "Timeline of the run; + and − zoom, arrows move, 0 shows everything",
      onZoom: changeQuery,
      signal,
    });
    this.controls = timelineControls(this.timeline, () => this.renderTimeline());
    this.tabs = runTabs(runId, signal);
    this.notice = el(
      "p",
      { class: "notice", hidden: true },
      "No layers have been uploaded yet. They appear with the first sampled step.",
    );
    this.timeline.root.prepend(this.controls.root);
    replace(root, this.head.root, this.incidents, this.notice, this.timeline.root, this.tabs.root);
    const { query } = readAddress();
    if (query.has("from") && query.has("to")) this.timeline.zoomTo([Number(query.get("from")), Number(query.get("to"))]);
  }

  show(overview, traces) {
    this.overview = overview;
    this.traces = traces;
    this.pollMs = overview.run.status === "running" ? RUNNING_POLL_MS : ENDED_POLL_MS;
    performance.mark("update-start");
    this.head.render(overview.run);
    this.renderIncidents();
    this.renderTimeline();
    this.tabs.render(overview, { rights: this.rights, onChange: () => this.refreshSoon() });
    performance.measure("update", "update-start");
  }

  // The incident that matters most; the others are in the tab of alerts.
  renderIncidents() {
    const [first, ...others] = byIncident(this.overview.alerts);
    const version = JSON.stringify([first, others.length]);
    if (version === this.renderedIncidents || isBeingEdited(this.incidents)) return;
    this.renderedIncidents = version;
    const more = el(
      "button",
      { type: "button", class: "small", click: () => this.tabs.select("alerts") },
      `${counted(others.length, "more incident")}`,
    );
    const options = { canWrite: this.rights.canWrite, onChange: () => this.refreshSoon(), more: others.length ? more : null };
    replace(this.incidents, first && incidentCard(first, options));
    this.showTarget();
  }

  renderTimeline() {
    if (!this.overview) return;
    const { layers, alerts } = this.overview;
    const range = stepRange(this.traces);
    this.notice.hidden = Boolean(layers.length);
    this.timeline.root.hidden = range === null;
    if (range === null) return;
    const onFold = (prefix) => {
      this.folds.set(prefix, !(this.folds.get(prefix) ?? true));
      this.renderTimeline();
    };
    this.timeline.setDomain(...range);
    this.timeline.setLanes(
      runLanes({
        runId: this.runId,
        layers,
        alerts,
        traces: this.traces,
        sampled: sampledSteps(this.traces),
        folds: this.folds,
        onFold,
        ...this.controls.options(),
      }),
    );
  }

  // Marks the alert of a link such as those in messages, and scrolls to it. An alert that the page does not list has a
  // page of its own.
  showTarget() {
    if (this.alertId === null || this.hasShownTarget) return;
    if (!this.overview.alerts.some((alert) => alert.id === this.alertId)) {
      location.replace(alertAddress(this.alertId));
      return;
    }
    this.hasShownTarget = true;
    let target = this.incidents.querySelector(`[data-alert="${CSS.escape(this.alertId)}"]`);
    if (target === null) {
      this.tabs.select("alerts");
      this.tabs.render(this.overview, { rights: this.rights, onChange: () => this.refreshSoon() });
      target = this.tabs.root.querySelector(`[data-alert="${CSS.escape(this.alertId)}"]`);
    }
    if (target === null) return;
    target.classList.add("target");
    for (let folded = target.closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
    document.getElementById(`alert-${this.alertId}`)?.focus({ preventScroll: true });
    target.scrollIntoView({ block: "nearest" });
  }

  // Asks for the state after an action.
  refreshSoon() {
    this.pause.refreshNow();
  }

  savePicture() {
    this.timeline.picture().toBlob((blob) => download(`${this.runId}.png`, blob));
  }
}
