// The number of open incidents beside "Alerts" in the bar.

import { get, path, withQuery } from "./api.js";
import { readSession } from "./session.js";

const REFRESH_MS = 30_000;
const MOST_COUNTED = 99;

let timer = 0;

export function startOpenAlerts() {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refreshOpenAlerts();
  });
  refreshOpenAlerts();
}

// Counts now instead of at the next interval: something was resolved or silenced.
export async function refreshOpenAlerts() {
  clearTimeout(timer);
  if (document.hidden) return;
  await showNumber().catch(() => show("?", "the number of open incidents is unknown: the server does not respond"));
  clearTimeout(timer);
  timer = setTimeout(refreshOpenAlerts, REFRESH_MS);
}

async function showNumber() {
  const session = await readSession();
  if (session.needed && !session.scope) {
    show("", ""); // the page asks for a key
    return;
  }
  const { items, next_cursor: more } = await get(withQuery(path("incidents"), { state: "open", limit: MOST_COUNTED }));
  const text = more ? `${MOST_COUNTED}+` : String(items.length || "");
  show(text, `${text} open ${text === "1" ? "incident" : "incidents"}`);
}

function show(text, title) {
  const node = document.getElementById("open-alerts");
  node.hidden = !text;
  if (node.textContent === text) return;
  node.textContent = text;
  node.title = title;
}
