// Webhooks and deliveries in words.

import { el, plain } from "../../core/elements.js";
import { badge } from "../../core/states.js";
import { counted } from "../../core/format.js";
import { due, since } from "./times.js";

export const FORMATS = {
  standard: "Standard (signed JSON)",
  slack: "Slack",
  discord: "Discord",
  alertmanager: "Prometheus Alertmanager",
};
export const FORMAT_NAMES = { standard: "Standard", slack: "Slack", discord: "Discord", alertmanager: "Alertmanager" };

export const EVENTS = {
  "alert.firing": ["Alert fires", "an alert fires, fires again, or becomes more severe"],
  "alert.resolved": ["Alert is over", "the layer recovered, or a person closed the alert"],
  "alert.acknowledged": ["Alert is acknowledged", "a person takes care of it"],
  "run.finished": ["Run ends", "with its dead layers and the number of its alerts"],
  "webhook.disabled": ["Webhook is disabled", "another one, because its receiver is gone or keeps failing"],
  "webhook.test": ["Test", "a test was requested; a test of this webhook is sent in any case"],
};

export const DISABLED_REASONS = {
  requested: "by a person",
  endpoint_gone: "the receiver answered 410 Gone",
  failing: "every attempt of five days failed",
};

export const STATUS_REASONS = {
  endpoint_gone: "the receiver answered 410 Gone",
  attempts_exhausted: "ten attempts failed",
  superseded: "its alerts were over before it was sent",
  webhook_disabled: "the webhook was disabled",
  webhook_deleted: "the webhook was deleted",
  project_changed: "the webhook was moved to another project",
};

const SLACK_HOSTS = ["hooks.slack.com", "hooks.slack-gov.com"];
const DISCORD_HOST = /^(ptb\.|canary\.)?(discord|discordapp)\.com$/;
const DISCORD_PATH = /^\/api(\/v\d+)?\/webhooks\//;

// Returns the format that the receiver at a URL expects, as the server chooses it; null while the URL is not complete.
export function formatOf(text) {
  let url;
  try {
    url = new URL(text.trim());
  } catch {
    return null;
  }
  const host = url.hostname.replace(/\.$/, "");
  const pathname = url.pathname.replace(/\/+$/, "");
  if (SLACK_HOSTS.includes(host)) return "slack";
  if (DISCORD_HOST.test(host) && DISCORD_PATH.test(pathname)) return pathname.endsWith("/slack") ? "slack" : "discord";
  return pathname.endsWith("/api/v2/alerts") ? "alertmanager" : "standard";
}

// Only the host is shown, because the path of many webhook URLs is a secret.
export function host(webhook) {
  try {
    return new URL(webhook.url).host;
  } catch {
    return webhook.webhook_id;
  }
}

export function title(webhook) {
  return plain(webhook.name || host(webhook));
}

export function eventNames(events) {
  return events.map((event) => EVENTS[event]?.[0] || event).join(", ");
}

// Returns the state of a webhook: enabled, failing, or disabled and why.
export function stateOf(webhook) {
  if (!webhook.enabled) {
    const reason = DISABLED_REASONS[webhook.disabled_reason] || webhook.disabled_reason;
    return [
      badge("disabled"),
      " ",
      el("span", { class: "quiet" }, reason, " ", webhook.disabled_at && since(webhook.disabled_at)),
    ];
  }
  if (!webhook.consecutive_failures) return [badge("enabled")];
  const attempts = counted(webhook.consecutive_failures, "attempt");
  return [
    badge("failing"),
    " ",
    el("span", { class: "quiet" }, `${attempts} failed, the first `, since(webhook.first_failure_at)),
  ];
}

export const outcomeOf = (attempt) => attempt.error || String(attempt.response_status);

// Returns the state of a delivery and what is to come.
export function resultOf(delivery) {
  const last = delivery.attempts.at(-1);
  const reason = STATUS_REASONS[delivery.status_reason] || delivery.status_reason;
  const details = [];
  if (reason) details.push(reason);
  if (delivery.state === "pending") details.push([last ? "next attempt " : "to be sent ", due(delivery.next_attempt_at)]);
  return [badge(delivery.state), " ", el("span", { class: "quiet" }, details)];
}
