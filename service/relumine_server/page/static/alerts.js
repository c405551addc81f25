// All alerts, and one alert by its link.

import { get, path, poll } from "/static/api.js";
import { alertCard, isOpen } from "/static/alert_card.js";
import { el, isBeingEdited, replace } from "/static/dom.js";

const PAGE = 100;
const REFRESH_MS = 5000;

export async function showAlerts({ root, signal }) {
  document.title = "Alerts · Relumine";
  const open = el("div");
  const past = el("div");
  replace(root, el("h1", {}, "Alerts"), open, past);
  let shown = "";
  const card = (alert) => alertCard(alert, { showRun: true, onChange: refreshNow });
  const cards = (alerts) => el("ul", { class: "cards" }, alerts.map(card));
  const refresh = async () => {
    const page = await get(`${path("alerts")}?limit=${PAGE}`, { signal });
    const now = JSON.stringify(page);
    if (now === shown || isBeingEdited(root)) return REFRESH_MS;
    shown = now;
    const [opened, resolved] = [page.items.filter(isOpen), page.items.filter((alert) => !isOpen(alert))];
    const more = page.next_cursor ? el("p", { class: "quiet" }, `The newest ${PAGE} are shown; /v1/alerts has them all.`) : null;
    replace(open, opened.length ? cards(opened) : el("p", { class: "notice" }, "No alert is open."));
    replace(past, resolved.length ? [el("h2", {}, "Resolved"), cards(resolved)] : [], more);
    return REFRESH_MS;
  };
  function refreshNow() {
    document.activeElement?.blur();
    refresh().catch(() => {}); // the next poll tells of it
  }
  await poll(refresh, signal);
}

export async function showAlert({ root, signal }, alertId) {
  document.title = "Alert · Relumine";
  let shown = "";
  await poll(async () => {
    const alert = await get(path("alerts", alertId), { signal });
    if (JSON.stringify(alert) !== shown && !isBeingEdited(root)) show(alert);
    return REFRESH_MS;
  }, signal);

  function show(alert) {
    shown = JSON.stringify(alert);
    document.title = `${alert.title} · Relumine`;
    replace(root,
      el("h1", {}, "Alert"),
      el("ul", { class: "cards" }, alertCard(alert, { showRun: true, onChange: show })),
      el("h2", {}, "Evidence"),
      el("pre", {}, JSON.stringify(alert.evidence, null, 2)),
    );
  }
}
