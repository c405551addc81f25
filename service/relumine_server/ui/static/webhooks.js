// The list of webhooks; each one has a page with its delivery log.

import { get, path } from "/static/api.js";
import { count, el, moment, replace, table, tag } from "/static/dom.js";

export async function showWebhooks({ root, signal }) {
  document.title = "Webhooks · Relumine";
  const page = await get(`${path("webhooks")}?limit=200`, { signal });
  const body = page.items.length ? table("In the order of their creation", COLUMNS, page.items) : firstSteps();
  replace(root, el("h1", {}, "Webhooks"), body);
}

const COLUMNS = [
  { title: "Receiver", cell: (webhook) => el("a", { href: `#/webhooks/${webhook.webhook_id}` }, title(webhook)) },
  { title: "Events", cell: (webhook) => webhook.events.join(", ") },
  { title: "Least severity", cell: (webhook) => webhook.min_severity },
  { title: "Project", cell: (webhook) => webhook.project || "all" },
  { title: "Format", cell: (webhook) => webhook.format },
  { title: "State", cell: (webhook) => tag(webhook.enabled ? "enabled" : "disabled") },
  { title: "Failures", number: true, cell: (webhook) => count(webhook.consecutive_failures) },
  { title: "Created", cell: (webhook) => moment(webhook.created_at) },
];

export function title(webhook) {
  return webhook.name ? `${webhook.name} (${host(webhook)})` : host(webhook);
}

// Only the host is shown, because the path of many webhook URLs is a secret.
export function host(webhook) {
  try {
    return new URL(webhook.url).host;
  } catch {
    return webhook.webhook_id;
  }
}

function firstSteps() {
  const command = `curl -X POST ${location.origin}/v1/webhooks -H 'content-type: application/json' -d '{"url": "https://example.org/hook"}'`;
  return el("section", { class: "notice" },
    el("p", {}, "There are no webhooks yet. This command creates one; the response contains its secret, once:"),
    el("pre", {}, command),
  );
}
