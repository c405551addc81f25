// All alerts, and one alert by its link.

import { get, path, poll } from "/static/api.js";
import { alertCard, isOpen } from "/static/alert_card.js";
import { count, el, isBeingEdited, moment, plain, replace, share, table, tag } from "/static/dom.js";
import { silences } from "/static/silences.js";

const PAGE = 100;
const REFRESH_MS = 5000;

export async function showAlerts({ root, signal }) {
  document.title = "Alerts · Relumine";
  const open = el("div");
  const hushed = el("div");
  const past = el("div");
  replace(root, el("h1", {}, "Alerts"), open, hushed, past);
  let shown = "";
  const card = (alert) => alertCard(alert, { showRun: true, onChange: refreshNow });
  const cards = (alerts) => el("ul", { class: "cards" }, alerts.map(card));
  const refresh = async () => {
    const page = await get(`${path("alerts")}?limit=${PAGE}`, { signal });
    const held = await silences(refreshNow, { signal });
    const now = JSON.stringify(page) + (held?.textContent || "");
    if (now === shown || isBeingEdited(root)) return REFRESH_MS;
    shown = now;
    replace(hushed, held && [el("h2", {}, "Silences"), held]);
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
    if (JSON.stringify(alert) !== shown && !isBeingEdited(root)) await show(alert);
    return REFRESH_MS;
  }, signal);

  async function show(alert) {
    const past = await get(`${path("alerts", alertId, "history")}?limit=200`, { signal });
    shown = JSON.stringify(alert);
    document.title = `${plain(alert.title)} · Relumine`;
    replace(root,
      el("h1", {}, "Alert"),
      el("ul", { class: "cards" }, alertCard(alert, { showRun: true, onChange: show })),
      treated(alert.treatments),
      el("h2", {}, "History"),
      story(past.items),
      el("h2", {}, "Evidence"),
      el("pre", {}, JSON.stringify(alert.evidence, null, 2)),
    );
  }
}

const OUTCOMES = { worked: "worked", did_not_work: "did not work", too_early: "too early to say" };

// What the training did about it, and what became of that.
function treated(treatments) {
  if (!treatments.length) return [];
  const outcome = (one) => el("span", { class: `tag ${one.outcome}` }, OUTCOMES[one.outcome] || one.outcome);
  return [el("h2", {}, "What was done"), table("Remedies that the training applied, the oldest first.", [
    { title: "Step", number: true, cell: (one) => count(one.step) },
    { title: "What", cell: (one) => one.action.replaceAll("_", " ") },
    { title: "Outcome", cell: outcome },
    { title: "Lost before", number: true, cell: (one) => share(one.share_before) },
    { title: "Lost since", number: true, cell: (one) => share(one.share_after) },
    { title: "That is", cell: (one) => one.words },
  ], treatments)];
}

function story(entries) {
  const said = ({ author, note }) => [author, note].filter(Boolean).join(": ");
  return table("What became of it, the oldest first.", [
    { title: "When", cell: (entry) => moment(entry.at) },
    { title: "Step", number: true, cell: (entry) => count(entry.step) },
    { title: "What", cell: (entry) => entry.event },
    { title: "State", cell: (entry) => tag(entry.to_state) },
    { title: "Severity", cell: (entry) => tag(entry.severity) },
    { title: "By", cell: said },
  ], entries);
}
