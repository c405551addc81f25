// One receiver: how it fares, and the log of what was sent to it, try by try. Polled while it is open.

import { get, patch, path, poll, post } from "/static/api.js";
import { count, el, facts, moment, replace, table, tag } from "/static/dom.js";
import { host } from "/static/webhooks.js";

const POLL_MS = 2000;
const DISABLED = {
  requested: "somebody disabled it",
  gone: "it answered 410 Gone",
  failing: "five days of nothing but failures",
};
const REASONS = {
  gone: "the receiver is gone",
  given_up: "given up after ten attempts",
  nothing_left: "all of it was over before it was sent",
  webhook_disabled: "the webhook was disabled",
  webhook_deleted: "the webhook was deleted",
  webhook_moved: "the webhook was given to another project",
};

export async function showWebhook({ root, signal }, id) {
  const said = el("p", { role: "status" });
  const top = el("div");
  const log = el("div");
  const view = { id, said, log, cursor: null };
  replace(root, top, said, log);
  await poll(async () => {
    const webhook = await get(path("webhooks", id), { signal });
    replace(top, ...head(webhook, view));
    const reading = view.cursor || log.querySelector("details[open]");
    if (!reading) await showLog(view, signal);
    return POLL_MS;
  }, signal);
}

function head(webhook, view) {
  document.title = `${host(webhook)} · Relumine`;
  const state = tag(webhook.enabled ? "enabled" : "disabled");
  return [
    el("h1", {}, host(webhook), " ", state),
    facts([
      ["events", webhook.events.join(", ")],
      ["from", webhook.severity],
      ["project", webhook.project || "all"],
      ["format", webhook.format],
      ["gathered for", `${webhook.group_wait_s} s`],
      ["disabled", webhook.disabled_reason && `${DISABLED[webhook.disabled_reason] || webhook.disabled_reason}`],
      ["since", webhook.disabled_at && moment(webhook.disabled_at)],
      ["failed in a row", webhook.failures ? count(webhook.failures) : null],
      ["failing since", webhook.failing_since && moment(webhook.failing_since)],
      ["two secrets until", webhook.secrets_until && moment(webhook.secrets_until)],
    ]),
    el("div", { class: "actions" },
      act(view, "test", "Send a test", !webhook.enabled, () => post(path("webhooks", view.id, "test"), {}), "A signed webhook.test is on its way."),
      webhook.enabled
        ? act(view, "toggle", "Disable", false, () => patch(path("webhooks", view.id), { enabled: false }), "Disabled. What waited is called off.")
        : act(view, "toggle", "Enable", false, () => patch(path("webhooks", view.id), { enabled: true }), "Enabled."),
    ),
  ];
}

function act(view, id, title, disabled, request, done) {
  const button = el("button", { type: "button", id, disabled, click: run }, title);
  async function run() {
    button.disabled = true;
    try {
      await request();
      view.said.textContent = done;
      if (!view.cursor) await showLog(view);
    } catch (error) {
      view.said.textContent = error.message;
    }
    button.disabled = disabled;
  }
  return button;
}

async function showLog(view, signal) {
  const query = view.cursor ? `?cursor=${encodeURIComponent(view.cursor)}` : "";
  const page = await get(`${path("webhooks", view.id, "deliveries")}${query}`, { signal });
  const body = page.items.length ? table("Notifications, newest first", columns(view), page.items) : el("p", { class: "quiet" }, "Nothing was sent yet.");
  const turn = (id, title, cursor) => el("button", { type: "button", id, click: () => { view.cursor = cursor; return showLog(view, signal); } }, title);
  replace(view.log, el("h2", {}, "Log"), body, el("div", { class: "actions" },
    view.cursor ? turn("newest", "Newest", null) : null,
    page.next_cursor ? turn("older", "Older", page.next_cursor) : null,
  ));
}

function columns(view) {
  return [
    { title: "When", cell: (delivery) => moment(delivery.created_at) },
    { title: "Event", cell: (delivery) => delivery.event },
    { title: "Run", cell: (delivery) => (delivery.run_id ? el("a", { href: `#/runs/${delivery.run_id}` }, delivery.run_id.slice(0, 13)) : "–") },
    { title: "Alerts", number: true, cell: (delivery) => count(delivery.alerts) },
    { title: "State", cell: state },
    { title: "Attempts", cell: attempts },
    { title: "Again", cell: (delivery) => again(view, delivery) },
  ];
}

function state(delivery) {
  const why = REASONS[delivery.reason] || delivery.reason;
  const next = delivery.due_at && ["next ", moment(delivery.due_at)];
  return el("span", {}, tag(delivery.state), " ", el("span", { class: "quiet" }, why || next || ""));
}

function attempts(delivery) {
  if (!delivery.attempts.length) return "–";
  const last = delivery.attempts.at(-1);
  const lines = delivery.attempts.map((one) => el("li", {}, moment(one.attempted_at), ` · ${outcome(one)} · ${count(one.duration_ms)} ms`,
    one.answer ? el("pre", {}, one.answer) : null));
  return el("details", { "data-delivery": delivery.delivery_id }, el("summary", {}, `${delivery.attempts.length}: ${outcome(last)}`), el("ol", {}, lines));
}

const outcome = (attempt) => attempt.error || String(attempt.status);

function again(view, delivery) {
  const id = `again-${delivery.delivery_id}`;
  const send = () => post(path("deliveries", delivery.delivery_id, "redeliver"), {});
  return act(view, id, "Send again", delivery.state === "pending", send, "It is on its way again, under the same id.");
}
