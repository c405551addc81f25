// The receivers of notifications; each has a page of its own with its log.

import { get, path } from "/static/api.js";
import { count, el, moment, replace, table, tag } from "/static/dom.js";

export async function showWebhooks({ root, signal }) {
  document.title = "Webhooks · Relumine";
  const page = await get(`${path("webhooks")}?limit=200`, { signal });
  const body = page.items.length ? table("Who is told of alerts", COLUMNS, page.items) : firstSteps();
  replace(root, el("h1", {}, "Webhooks"), body);
}

const COLUMNS = [
  { title: "Receiver", cell: (webhook) => el("a", { href: `#/webhooks/${webhook.webhook_id}` }, host(webhook)) },
  { title: "Events", cell: (webhook) => webhook.events.join(", ") },
  { title: "From", cell: (webhook) => webhook.severity },
  { title: "Project", cell: (webhook) => webhook.project || "all" },
  { title: "Format", cell: (webhook) => webhook.format },
  { title: "State", cell: (webhook) => tag(webhook.enabled ? "enabled" : "disabled") },
  { title: "Failures", number: true, cell: (webhook) => count(webhook.failures) },
  { title: "Since", cell: (webhook) => moment(webhook.created_at) },
];

// The path of many receivers is a secret: a list shows the host alone.
export function host(webhook) {
  try {
    return new URL(webhook.url).host;
  } catch {
    return webhook.webhook_id;
  }
}

function firstSteps() {
  const line = `curl -X POST ${location.origin}/v1/webhooks -H 'content-type: application/json' -d '{"url": "https://example.org/hook"}'`;
  return el("section", { class: "notice" },
    el("p", {}, "Nobody is told of alerts yet. This adds a receiver; the answer holds its secret, once:"),
    el("pre", {}, line),
  );
}
