// One webhook: its state, what can be done with it, and the log of its deliveries.

import { get, patch, path, post, remove } from "../../core/api.js";
import { addressOf } from "../../core/address.js";
import { el, facts, replace } from "../../core/elements.js";
import { moment } from "../../core/format.js";
import { poll } from "../../core/poll.js";
import { badge } from "../../core/states.js";
import { projectNames } from "./access.js";
import { confirmButton, perform, secretNotice, showOutcome, statusLine } from "./actions.js";
import { DeliveryLog } from "./deliveries.js";
import { testButton } from "./test_delivery.js";
import { refreshTimes } from "./times.js";
import { webhookForm } from "./webhook_form.js";
import { FORMATS, eventNames, host, stateOf, title } from "./webhook_words.js";

const POLL_MS = 2000;

export async function showWebhook({ root, signal, access }, id, query) {
  const view = { id, signal, access, version: null, webhook: null };
  view.head = el("div");
  view.actions = el("div");
  view.news = el("div");
  view.log = new DeliveryLog(id, query, signal);
  view.status = statusLine();
  replace(
    root,
    el("p", { class: "crumbs" }, el("a", { href: addressOf(["settings", "webhooks"]) }, "Webhooks")),
    view.head,
    view.actions,
    view.status,
    view.news,
    view.log.root,
  );
  await poll(async () => {
    showState(view, await get(path("webhooks", id), { signal }));
    await view.log.refresh();
    refreshTimes(root);
    return POLL_MS;
  }, signal);
}

// Writes only what has changed: a selection of text, an open question and the focus stay.
function showState(view, webhook) {
  const version = JSON.stringify(webhook);
  if (version === view.version) return;
  const isToggled = view.webhook?.enabled !== webhook.enabled;
  Object.assign(view, { version, webhook });
  document.title = `${title(webhook)} · Relumine`;
  replace(
    view.head,
    el(
      "h1",
      {},
      title(webhook),
      " ",
      badge(webhook.enabled ? (webhook.consecutive_failures ? "failing" : "enabled") : "disabled"),
    ),
    factsOf(webhook),
  );
  if (isToggled) replace(view.actions, actionsOf(view));
}

function factsOf(webhook) {
  return facts([
    ["State", webhook.enabled && !webhook.consecutive_failures ? "" : el("span", {}, stateOf(webhook).slice(1))],
    ["Receiver", host(webhook)],
    ["Format", FORMATS[webhook.format] || webhook.format],
    ["Sends", eventNames(webhook.events)],
    ["Severity", webhook.min_severity === "critical" ? "critical only" : `from ${webhook.min_severity} on`],
    ["Project", webhook.project || "all"],
    ["Grouped for", `${webhook.group_wait_s} s`],
    ["Two secrets until", webhook.secrets_until && moment(webhook.secrets_until)],
    ["Created", moment(webhook.created_at)],
  ]);
}

function actionsOf(view) {
  const { webhook } = view;
  const toggle = el("button", { type: "button", id: "toggle" }, webhook.enabled ? "Disable" : "Enable");
  toggle.addEventListener("click", () => toggleEnabled(view, toggle));
  const edit = el("button", { type: "button", id: "edit", click: () => openForm(view) }, "Edit");
  const test = testButton(webhook, view.signal, { onSent: () => view.log.refresh().catch(() => {}) });
  const isTestable = webhook.enabled;
  const buttons = [isTestable ? test.button : null, toggle, edit, rotateButton(view), deleteButton(view)];
  return [el("div", { class: "actions" }, buttons), test.answer];
}

function rotateButton(view) {
  return confirmButton({
    id: "rotate",
    className: "",
    label: "Rotate the secret",
    question: "Create a new secret? The present one stays valid for a day.",
    confirmLabel: "Rotate",
    act: () => rotate(view),
  });
}

function deleteButton(view) {
  return confirmButton({
    id: "delete",
    label: "Delete",
    question: "Delete this webhook? Pending deliveries are cancelled, and the log is lost.",
    confirmLabel: "Delete it",
    act: async () => {
      await remove(path("webhooks", view.id));
      location.hash = addressOf(["settings", "webhooks"]);
    },
  });
}

async function toggleEnabled(view, button) {
  const enabled = !view.webhook.enabled;
  const text = enabled ? "Enabled." : "Disabled. Pending deliveries were cancelled; the log can send them again.";
  const webhook = await perform(button, view.status, () => patch(path("webhooks", view.id), { enabled }), text);
  if (webhook) showState(view, webhook);
}

async function rotate(view) {
  const webhook = await post(path("webhooks", view.id, "rotate-secret"), {});
  replace(
    view.news,
    secretNotice({
      title: "The secret was rotated.",
      label: "New signing secret",
      secret: webhook.secret,
      explanation:
        "For a day, notifications are signed with both secrets: give the receiver the new one meanwhile. It is shown only once.",
    }),
  );
  showState(view, { ...webhook, secret: null });
}

async function openForm(view) {
  const projects = await projectNames(view.signal);
  const close = () => {
    replace(view.news);
    document.getElementById("edit")?.focus({ preventScroll: true });
  };
  const form = webhookForm({
    webhook: view.webhook,
    projects,
    access: view.access,
    submitLabel: "Save the changes",
    send,
    cancel: close,
  });
  async function send(body) {
    const webhook = await patch(path("webhooks", view.id), body);
    close();
    showOutcome(view.status, "Saved.");
    showState(view, webhook);
  }
  replace(view.news, form);
  form.elements.url.focus();
}
