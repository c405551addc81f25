// The page of one alert: what and where, where it stands, its evidence, how to fix it, what was done.

import { addressOf, layerAddress, runAddress } from "../core/address.js";
import { get, path, withQuery } from "../core/api.js";
import { copyButton, el, isBeingEdited, plain, replace, runLabel } from "../core/elements.js";
import { count, duration, refreshAgo, share } from "../core/format.js";
import { permissions } from "../core/login.js";
import { poll } from "../core/poll.js";
import { CAUSES, badge } from "../core/states.js";
import { alertState, isOpen } from "../parts/outcome.js";
import { actionForms } from "./alert/actions.js";
import { evidencePanel } from "./alert/evidence.js";
import { OnsetChart } from "./alert/onset_chart.js";
import { fixPanel } from "./alert/fix.js";
import { effectTable, eventTable, siblingList } from "./alert/history.js";
import { lifecycle } from "./alert/lifecycle.js";

const REFRESH_MS = 5000;

export async function showAlert({ root, signal }, alertId) {
  document.title = "Alert · Relumine";
  const [{ canWrite }, alert] = await Promise.all([permissions(), get(path("alerts", alertId), { signal })]);
  const page = new AlertPage(root, signal, canWrite, alert);
  await poll(() => page.refresh(), signal);
}

class AlertPage {
  constructor(root, signal, canWrite, alert) {
    this.signal = signal;
    this.canWrite = canWrite;
    this.alert = alert;
    this.chart = new OnsetChart(alert, signal);
    const names = ["head", "fix", "actions", "evidence", "effects", "siblings", "events"];
    this.sections = Object.fromEntries(names.map((name) => [name, new Section(name)]));
    const { head, fix, actions, evidence, effects, siblings, events } = this.sections;
    replace(
      root,
      head.root,
      el(
        "div",
        { class: "alert-columns" },
        el("div", {}, this.chart.root, evidence.root, effects.root, events.root),
        el("div", { class: "alert-side" }, fix.root, actions.root, siblings.root),
      ),
    );
    this.root = root;
    this.render();
  }

  async refresh() {
    if (this.isShown) this.set(await get(path("alerts", this.alert.id), { signal: this.signal }));
    this.isShown = true; // the alert that was just read is shown already
    await Promise.all([this.chart.refresh(this.alert), this.readHistory()]);
    refreshAgo(this.root);
    return REFRESH_MS;
  }

  set(alert) {
    this.alert = alert;
    this.render();
  }

  render() {
    const { alert, sections } = this;
    document.title = `${plain(alert.title)} · Relumine`;
    sections.head.show(alert, () => head(alert));
    sections.fix.show([alert.remedies, alert.forecast], () => fixPanel(alert));
    sections.evidence.show(alert.evidence, () => evidencePanel(alert.evidence, this.explanations()));
    sections.effects.show(alert.remedy_outcomes, () => effectTable(alert.remedy_outcomes));
    if (this.canWrite) sections.actions.show(actionState(alert), () => actionForms(alert, (changed) => this.changed(changed)));
  }

  // The section keeps whether explanations are shown while its content is rendered again.
  explanations() {
    const { classList } = this.sections.evidence.root;
    return { isExplained: classList.contains("explained"), onExplain: () => classList.toggle("explained") };
  }

  // An action was taken: its form goes, and the history has an entry more.
  changed(alert) {
    document.activeElement?.blur();
    this.set(alert);
    this.readHistory().catch(() => {}); // the next poll reports the error
  }

  async readHistory() {
    const { alert, sections, signal } = this;
    const version = JSON.stringify(alert);
    if (version === this.historyOf) return;
    const [events, incident] = await Promise.all([
      get(withQuery(path("alerts", alert.id, "events"), { limit: 200 }), { signal }),
      get(path("incidents", alert.incident_id), { signal }),
    ]);
    sections.events.show(events.items, () => eventTable(events.items));
    sections.siblings.show(incident, () => siblingList(incident, alert.id));
    this.historyOf = version;
  }
}

// A part of the page that is rendered again only when its data has changed, and not while the reader types in it.
class Section {
  constructor(name) {
    this.root = el("section", { class: `alert-${name}` });
    this.version = "";
  }

  show(data, render) {
    const version = JSON.stringify(data);
    if (version === this.version || isBeingEdited(this.root)) return;
    this.version = version;
    const opened = new Map([...this.root.querySelectorAll("details")].map((node) => [node.firstChild.id, node.open]));
    replace(this.root, render());
    for (const node of this.root.querySelectorAll("details")) node.open = opened.get(node.firstChild.id) ?? node.open;
  }
}

// What the forms depend on: other changes leave them, and what is typed, alone.
function actionState({ state, acknowledged, silenced_by: silencedBy }) {
  return [state, acknowledged, silencedBy];
}

function head(alert) {
  const { run } = alert;
  const crumbs = el(
    "p",
    { class: "crumbs" },
    runsLink(alert.project, { project: alert.project }),
    " / ",
    run.group ? [runsLink(run.group, { project: alert.project, group: run.group }), " / "] : "",
    el("a", { href: runAddress(alert.run_id) }, runLabel({ run_id: alert.run_id, name: run.name })),
    alert.layer ? [" / ", el("a", { href: layerAddress(alert.run_id, alert.layer_id) }, alert.layer_label)] : "",
  );
  return [
    crumbs,
    el("div", { class: "alert-title" }, el("h1", {}, alert.title), badge(alert.severity), badge(alert.kind), alertState(alert)),
    lifecycle(alert),
    suppression(alert),
    el("p", { class: "alert-message" }, alert.message, " ", copyButton(alert.message, "Copy the message")),
    el("p", { class: "quiet" }, causeText(alert), forecastText(alert)),
  ];
}

function runsLink(text, filters) {
  return el("a", { href: addressOf(["runs"], filters) }, text);
}

function suppression(alert) {
  if (!isOpen(alert)) return null;
  if (alert.silenced_by) {
    return el(
      "p",
      { class: "notice" },
      "A silence matches this alert, so it sends no notification. ",
      el("a", { href: addressOf(["alerts"], { tab: "silences" }) }, "Silences"),
    );
  }
  if (!alert.inhibited_by) return null;
  return el(
    "p",
    { class: "notice" },
    "Another alert explains this one, so it sends no notification: ",
    el("a", { href: addressOf(["alerts", alert.inhibited_by]) }, "open that alert"),
  );
}

function causeText({ cause, confidence }) {
  return cause === "unknown"
    ? "No clear cause was found. "
    : `Cause: ${CAUSES[cause] || cause} (confidence ${share(confidence)}). `;
}

function forecastText({ forecast }) {
  if (!forecast) return "";
  const eta = forecast.eta_s === null ? "" : `, in about ${duration(forecast.eta_s)}`;
  const range = `${count(forecast.low)} to ${count(forecast.high)}`;
  return `Forecast: half of the layer is dead near step ${count(forecast.step)}${eta} (80% interval: ${range}).`;
}
