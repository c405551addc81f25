// The receivers of notifications, and a button that sends each a test.

import { get, path, post } from "/static/api.js";
import { el, moment, replace, table } from "/static/dom.js";

export async function showWebhooks({ root, signal }) {
  document.title = "Webhooks · Relumine";
  const page = await get(`${path("webhooks")}?limit=200`, { signal });
  const said = el("p", { role: "status" });
  const body = page.items.length ? table("Who is told of alerts", columns(said), page.items) : firstSteps();
  replace(root, el("h1", {}, "Webhooks"), body, said);
}

function columns(said) {
  return [
    { title: "URL", cell: (webhook) => webhook.url },
    { title: "Events", cell: (webhook) => webhook.events.join(", ") },
    { title: "Project", cell: (webhook) => webhook.project || "all" },
    { title: "State", cell: (webhook) => (webhook.enabled ? "enabled" : "disabled") },
    { title: "Since", cell: (webhook) => moment(webhook.created_at) },
    { title: "Test", cell: (webhook) => testButton(webhook, said) },
  ];
}

function testButton(webhook, said) {
  const button = el("button", { type: "button", disabled: !webhook.enabled, click: test }, "Send a test");
  async function test() {
    button.disabled = true;
    try {
      const probe = await post(path("webhooks", webhook.webhook_id, "test"), {});
      said.textContent = `A signed webhook.test is on its way (${probe.delivery_id}).`;
    } catch (error) {
      said.textContent = error.message;
    }
    button.disabled = false;
  }
  return button;
}

function firstSteps() {
  const line = `curl -X POST ${location.origin}/v1/webhooks -H 'content-type: application/json' -d '{"url": "https://example.org/hook"}'`;
  return el("section", { class: "notice" },
    el("p", {}, "Nobody is told of alerts yet. This adds a receiver; the answer holds its secret, once:"),
    el("pre", {}, line),
  );
}
