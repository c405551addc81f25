// The tabs below the timeline. The selected one is in the URL; each is rendered only while it is shown.

import { changeQuery, readAddress } from "../../core/address.js";
import { el, isBeingEdited, replace, setText, updateList } from "../../core/elements.js";
import { byIncident, incidentCard } from "../../parts/incident_card.js";
import { configTab } from "./config_tab.js";
import { coverageTab } from "./coverage_tab.js";
import { layersTab } from "./layers_tab.js";
import { metricsTab } from "./metrics_tab.js";

const NAMES = { layers: "Layers", alerts: "Alerts", metrics: "Metrics", config: "Config", coverage: "Coverage" };

export function runTabs(runId, signal) {
  const panel = el("div", { role: "tabpanel", id: "tab-panel", tabindex: "-1" });
  const buttons = Object.entries(NAMES).map(([name, text]) =>
    el(
      "button",
      { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "tab-panel", click: () => select(name), keydown: onKey },
      text,
    ),
  );
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": "Details of the run" }, buttons);
  const root = el("section", {}, list, panel);
  const parts = {
    layers: layersTab(runId),
    alerts: alertsTab(),
    metrics: metricsTab(runId, signal),
    config: configTab(),
    coverage: coverageTab(),
  };
  let last = null;

  function selected() {
    const name = readAddress().query.get("tab");
    return name in NAMES ? name : "layers";
  }

  function select(name) {
    changeQuery({ tab: name === "layers" ? null : name });
    mark();
    if (last) render(...last);
  }

  function mark() {
    const name = selected();
    for (const button of buttons) {
      const isSelected = button.id === `tab-${name}`;
      button.setAttribute("aria-selected", String(isSelected));
      button.tabIndex = isSelected ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    if (panel.firstChild !== parts[name].root) replace(panel, parts[name].root);
  }

  function render(overview, options) {
    last = [overview, options];
    parts[selected()].render(overview, options);
    setText(buttons[1], overview.alerts.length ? `Alerts (${overview.alerts.length})` : "Alerts");
  }

  function onKey(event) {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const index = (buttons.indexOf(event.target) + move + buttons.length) % buttons.length;
    select(Object.keys(NAMES)[index]);
    buttons[index].focus();
  }

  mark();
  return { root, render, select };
}

function alertsTab() {
  const list = el("div", { class: "cards" });
  const empty = el("p", { class: "notice" }, "This run has no alerts.");
  const root = el("div", {}, empty, list);
  function render({ alerts }, { rights, onChange }) {
    empty.hidden = Boolean(alerts.length);
    if (isBeingEdited(list)) return;
    updateList(
      list,
      byIncident(alerts),
      ([lead]) => lead.incident_id,
      (members) => incidentCard(members, { canWrite: rights.canWrite, onChange }),
    );
  }
  return { root, render };
}
