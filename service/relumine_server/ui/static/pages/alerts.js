// The alerts of all runs, by incident: open, closed, and the silences. Tab and filters are in the URL.

import { changeQuery, readAddress } from "../core/address.js";
import { el, replace } from "../core/elements.js";
import { permissions } from "../core/login.js";
import { IncidentList } from "./alerts/incident_list.js";
import { showSilences } from "./alerts/silences.js";

const TABS = { open: "Open", closed: "Closed", silences: "Silences" };

export async function showAlerts({ root, signal }) {
  document.title = "Alerts · Relumine";
  const page = new AlertsPage(root, signal, await permissions());
  const { query } = readAddress();
  await page.open(Object.hasOwn(TABS, query.get("tab") || "") ? query.get("tab") : "open");
}

class AlertsPage {
  constructor(root, signal, rights) {
    this.signal = signal;
    this.rights = rights;
    this.current = new AbortController(); // aborted when another tab is shown
    signal.addEventListener("abort", () => this.current.abort());
    this.panel = el("div", { id: "alerts-panel", role: "tabpanel" });
    this.buttons = Object.entries(TABS).map(([name, title]) => tabButton(name, title, (tab) => this.openAnother(tab)));
    const tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "Alerts" }, this.buttons);
    replace(root, el("h1", {}, "Alerts"), tabs, this.panel);
  }

  // Shows a tab until another one is opened, or the page is left.
  async open(name) {
    this.current.abort();
    this.current = new AbortController();
    changeQuery({ tab: name === "open" ? null : name });
    this.panel.setAttribute("aria-labelledby", `tab-${name}`);
    for (const button of this.buttons) select(button, button.dataset.tab === name);
    const { signal } = this.current;
    if (name === "silences") await showSilences(this.panel, signal, this.rights);
    else await new IncidentList(this.panel, signal, this.rights, name).run();
  }

  async openAnother(name) {
    document.getElementById(`tab-${name}`).focus();
    try {
      await this.open(name);
    } catch (error) {
      if (this.signal.aborted) return;
      if (error.status === 401)
        window.dispatchEvent(new Event("hashchange")); // the router shows the login
      else replace(this.panel, el("p", { class: "notice", role: "alert" }, error.message));
    }
  }
}

function tabButton(name, title, open) {
  const names = Object.keys(TABS);
  const onKey = ({ key }) => {
    const offset = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (offset) open(names[(names.indexOf(name) + offset + names.length) % names.length]);
  };
  const properties = { type: "button", role: "tab", id: `tab-${name}`, "data-tab": name, "aria-controls": "alerts-panel" };
  return el("button", { ...properties, click: () => open(name), keydown: onKey }, title);
}

function select(button, isSelected) {
  button.setAttribute("aria-selected", String(isSelected));
  button.tabIndex = isSelected ? 0 : -1;
}
