// The list of alerts, and the page of one alert.

import { get, path, poll } from "/static/api.js";
import { alertCard, isOpen } from "/static/alert_card.js";
import { count, el, isBeingEdited, moment, plain, replace, share, table, tag } from "/static/dom.js";
import { silenceTable } from "/static/silences.js";

const PAGE_SIZE = 100;
const REFRESH_MS = 5000;

export async function showAlerts({ root, signal }) {
  document.title = "Alerts · Relumine";
  const openAlerts = el("div");
  const silences = el("div");
  const closedAlerts = el("div");
  replace(root, el("h1", {}, "Alerts"), openAlerts, silences, closedAlerts);
  let rendered = "";
  const card = (alert) => alertCard(alert, { showRun: true, onChange: refreshNow });
  const cards = (alerts) => el("ul", { class: "cards" }, alerts.map(card));
  const refresh = async () => {
    // Two requests: the newest alerts of any state may all be closed while older ones are open.
    const open = await get(`${path("alerts")}?state=open&limit=${PAGE_SIZE}`, { signal });
    const newest = await get(`${path("alerts")}?limit=${PAGE_SIZE}`, { signal });
    const silencesNow = await silenceTable(refreshNow, { signal });
    const current = JSON.stringify([open, newest]) + (silencesNow?.textContent || "");
    if (current === rendered || isBeingEdited(root)) return REFRESH_MS;
    rendered = current;
    replace(silences, silencesNow && [el("h2", {}, "Silences"), silencesNow]);
    const closed = newest.items.filter((alert) => !isOpen(alert));
    const isCut = open.next_cursor || newest.next_cursor;
    const more = isCut ? el("p", { class: "quiet" }, `This page shows the newest ${PAGE_SIZE} alerts; /v1/alerts returns all of them.`) : null;
    replace(openAlerts, open.items.length ? cards(open.items) : el("p", { class: "notice" }, "There are no open alerts."));
    replace(closedAlerts, closed.length ? [el("h2", {}, "Ended and resolved"), cards(closed)] : [], more);
    return REFRESH_MS;
  };
  function refreshNow() {
    document.activeElement?.blur();
    refresh().catch(() => {}); // the next poll reports the error
  }
  await poll(refresh, signal);
}

export async function showAlert({ root, signal }, alertId) {
  document.title = "Alert · Relumine";
  let rendered = "";
  await poll(async () => {
    const alert = await get(path("alerts", alertId), { signal });
    if (JSON.stringify(alert) !== rendered && !isBeingEdited(root)) await render(alert);
    return REFRESH_MS;
  }, signal);

  async function render(alert) {
    const events = await get(`${path("alerts", alertId, "events")}?limit=200`, { signal });
    rendered = JSON.stringify(alert);
    document.title = `${plain(alert.title)} · Relumine`;
    replace(root,
      el("h1", {}, "Alert"),
      el("ul", { class: "cards" }, alertCard(alert, { showRun: true, onChange: render })),
      remedyOutcomes(alert.remedy_outcomes),
      el("h2", {}, "Events"),
      eventTable(events.items),
      el("h2", {}, "Evidence"),
      el("pre", {}, JSON.stringify(alert.evidence, null, 2)),
    );
  }
}

// The remedies that the training applied, with the outcome of each.
function remedyOutcomes(remedies) {
  if (!remedies.length) return [];
  return [el("h2", {}, "Applied remedies"), table("Remedies that the training applied, oldest first.", [
    { title: "Step", number: true, cell: (remedy) => count(remedy.step) },
    { title: "Remedy", cell: (remedy) => remedy.action.replaceAll("_", " ") },
    { title: "Outcome", cell: (remedy) => tag(remedy.outcome) },
    { title: "Lost before", number: true, cell: (remedy) => share(remedy.share_before) },
    { title: "Lost since", number: true, cell: (remedy) => share(remedy.share_after) },
    { title: "Explanation", cell: (remedy) => remedy.explanation },
  ], remedies)];
}

function eventTable(events) {
  const authorAndNote = ({ author, note }) => [author, note].filter(Boolean).join(": ");
  return table("Events, oldest first.", [
    { title: "Time", cell: (event) => moment(event.occurred_at) },
    { title: "Step", number: true, cell: (event) => count(event.step) },
    { title: "Event", cell: (event) => event.event.replaceAll("_", " ") },
    { title: "State", cell: (event) => tag(event.to_state) },
    { title: "Severity", cell: (event) => tag(event.severity) },
    { title: "By", cell: authorAndNote },
  ], events);
}
