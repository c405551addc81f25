// One webhook: its state, and the log of its deliveries with every attempt. Polled while the page is open.

import { get, patch, path, poll, post } from "/static/api.js";
import { count, el, facts, moment, replace, table, tag } from "/static/dom.js";
import { title } from "/static/webhooks.js";

const POLL_MS = 2000;
const DISABLED_REASONS = {
  requested: "disabled by a person",
  endpoint_gone: "the receiver answered 410 Gone",
  failing: "every attempt of five days failed",
};
const STATUS_REASONS = {
  endpoint_gone: "the receiver answered 410 Gone",
  attempts_exhausted: "ten attempts failed",
  superseded: "its alerts were over before it was sent",
  webhook_disabled: "the webhook was disabled",
  webhook_deleted: "the webhook was deleted",
  project_changed: "the webhook was moved to another project",
};

export async function showWebhook({ root, signal }, id) {
  const status = el("p", { role: "status" });
  const header = el("div");
  const log = el("div");
  const view = { id, status, log, cursor: null };
  replace(root, header, status, log);
  await poll(async () => {
    const webhook = await get(path("webhooks", id), { signal });
    replace(header, ...headerNodes(webhook, view));
    const isReading = view.cursor || log.querySelector("details[open]");
    if (!isReading) await showLog(view, signal);
    return POLL_MS;
  }, signal);
}

function headerNodes(webhook, view) {
  document.title = `${title(webhook)} · Relumine`;
  const state = tag(webhook.enabled ? "enabled" : "disabled");
  return [
    el("h1", {}, title(webhook), " ", state),
    facts([
      ["events", webhook.events.join(", ")],
      ["least severity", webhook.min_severity],
      ["project", webhook.project || "all"],
      ["format", webhook.format],
      ["grouped for", `${webhook.group_wait_s} s`],
      ["disabled", webhook.disabled_reason && `${DISABLED_REASONS[webhook.disabled_reason] || webhook.disabled_reason}`],
      ["since", webhook.disabled_at && moment(webhook.disabled_at)],
      ["consecutive failures", webhook.consecutive_failures ? count(webhook.consecutive_failures) : null],
      ["failing since", webhook.first_failure_at && moment(webhook.first_failure_at)],
      ["two secrets until", webhook.secrets_until && moment(webhook.secrets_until)],
    ]),
    el("div", { class: "actions" },
      actionButton(view, "test", "Send a test", !webhook.enabled, () => post(path("webhooks", view.id, "test"), {}), "A signed webhook.test is being sent."),
      webhook.enabled
        ? actionButton(view, "toggle", "Disable", false, () => patch(path("webhooks", view.id), { enabled: false }), "Disabled. Pending deliveries were cancelled.")
        : actionButton(view, "toggle", "Enable", false, () => patch(path("webhooks", view.id), { enabled: true }), "Enabled."),
    ),
  ];
}

function actionButton(view, id, title, disabled, request, successText) {
  const button = el("button", { type: "button", id, disabled, click: perform }, title);
  async function perform() {
    button.disabled = true;
    try {
      await request();
      view.status.textContent = successText;
      if (!view.cursor) await showLog(view);
    } catch (error) {
      view.status.textContent = error.message;
    }
    button.disabled = disabled;
  }
  return button;
}

async function showLog(view, signal) {
  const query = view.cursor ? `?cursor=${encodeURIComponent(view.cursor)}` : "";
  const page = await get(`${path("webhooks", view.id, "deliveries")}${query}`, { signal });
  const body = page.items.length ? table("Deliveries, newest first", columns(view), page.items) : el("p", { class: "quiet" }, "There are no deliveries yet.");
  const pageButton = (id, title, cursor) => el("button", { type: "button", id, click: () => { view.cursor = cursor; return showLog(view, signal); } }, title);
  replace(view.log, el("h2", {}, "Delivery log"), body, el("div", { class: "actions" },
    view.cursor ? pageButton("newest", "Newest", null) : null,
    page.next_cursor ? pageButton("older", "Older", page.next_cursor) : null,
  ));
}

function columns(view) {
  return [
    { title: "Time", cell: (delivery) => moment(delivery.created_at) },
    { title: "Event", cell: (delivery) => delivery.event },
    { title: "Run", cell: (delivery) => (delivery.run_id ? el("a", { href: `#/runs/${delivery.run_id}` }, delivery.run_id.slice(0, 13)) : "–") },
    { title: "Alerts", number: true, cell: (delivery) => count(delivery.alert_count) },
    { title: "State", cell: stateCell },
    { title: "Attempts", cell: attemptList },
    { title: "", cell: (delivery) => redeliverButton(view, delivery) },
  ];
}

function stateCell(delivery) {
  const reason = STATUS_REASONS[delivery.status_reason] || delivery.status_reason;
  const next = delivery.next_attempt_at && ["next ", moment(delivery.next_attempt_at)];
  return el("span", {}, tag(delivery.state), " ", el("span", { class: "quiet" }, reason || next || ""));
}

function attemptList(delivery) {
  if (!delivery.attempts.length) return "–";
  const last = delivery.attempts.at(-1);
  const items = delivery.attempts.map((attempt) => el("li", {},
    moment(attempt.attempted_at), ` · ${outcome(attempt)} · ${count(attempt.duration_ms)} ms`,
    attempt.response_body ? el("pre", {}, attempt.response_body) : null));
  return el("details", { "data-delivery": delivery.delivery_id }, el("summary", {}, `${delivery.attempts.length}: ${outcome(last)}`), el("ol", {}, items));
}

const outcome = (attempt) => attempt.error || String(attempt.response_status);

function redeliverButton(view, delivery) {
  const id = `redeliver-${delivery.delivery_id}`;
  const redeliver = () => post(path("deliveries", delivery.delivery_id, "redeliver"), {});
  return actionButton(view, id, "Redeliver", delivery.state === "pending", redeliver, "Sent again with the same id.");
}
