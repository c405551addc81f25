// The list of webhooks, with the last result of each and what is still to be sent, and the form that creates one.

import { get, path, post, withQuery } from "../../core/api.js";
import { addressOf, changeQuery } from "../../core/address.js";
import { el, replace } from "../../core/elements.js";
import { count } from "../../core/format.js";
import { poll } from "../../core/poll.js";
import { words } from "../../core/states.js";
import { projectNames } from "./access.js";
import { secretNotice } from "./actions.js";
import { liveTable } from "./live_table.js";
import { testButton } from "./test_delivery.js";
import { refreshTimes, since } from "./times.js";
import { webhookForm } from "./webhook_form.js";
import { FORMAT_NAMES, eventNames, host, outcomeOf, resultOf, stateOf, title } from "./webhook_words.js";

const POLL_MS = 5000;
const SLOW_POLL_MS = 30_000; // with so many webhooks that each round is many requests
const MANY = 20;
const MOST_PENDING = 100;

export async function showWebhooks({ root, signal, access }, query) {
  const opener = el("button", { type: "button", class: "primary", id: "new-webhook", click: () => openForm() }, "Add a webhook");
  const formHolder = el("div");
  const news = el("div");
  const list = el("div");
  const view = { signal, access, news, list, table: null };
  replace(root, el("div", { class: "head" }, el("h1", {}, "Webhooks"), opener), news, formHolder, list);
  async function openForm() {
    changeQuery({ new: "1" });
    opener.hidden = true;
    await showForm(view, formHolder, closeForm);
  }
  function closeForm() {
    changeQuery({ new: null });
    replace(formHolder);
    opener.hidden = false;
    opener.focus({ preventScroll: true });
  }
  if (query.get("new")) openForm();
  view.refresh = () => showList(view);
  await poll(() => showList(view), signal);
}

async function showForm(view, parent, close) {
  const projects = await projectNames(view.signal);
  const form = webhookForm({ projects, access: view.access, submitLabel: "Create the webhook", send, cancel: close });
  async function send(body) {
    const webhook = await post(path("webhooks"), body);
    close();
    replace(view.news, createdNotice(webhook, view));
    await view.refresh();
  }
  replace(parent, form);
  form.elements.url.focus();
}

function createdNotice(webhook, view) {
  const { button, answer } = testButton(webhook, view.signal);
  const isChat = ["slack", "discord"].includes(webhook.format);
  return secretNotice({
    title: `${title(webhook)} is added.`,
    label: "Signing secret",
    secret: webhook.secret,
    explanation: isChat
      ? `${FORMAT_NAMES[webhook.format]} does not check signatures, so you may never need this secret. It is shown only once.`
      : "The receiver verifies signatures with this secret. It is shown only once.",
    extra: [button, answer],
  });
}

async function showList(view) {
  const items = await allWebhooks(view.signal);
  if (!items.length) {
    view.table = null;
    replace(view.list, firstSteps());
    return POLL_MS;
  }
  if (!view.table) {
    view.table = liveTable("Webhooks, in the order of their creation", COLUMNS, (row) => row.webhook.webhook_id);
    replace(view.list, view.table.root);
    view.table.update(items.map((webhook) => ({ webhook, last: undefined, pending: undefined })));
  }
  view.table.update(await Promise.all(items.map((webhook) => withResults(webhook, view.signal))));
  refreshTimes(view.list);
  return items.length > MANY ? SLOW_POLL_MS : POLL_MS;
}

async function allWebhooks(signal) {
  const items = [];
  let cursor = null;
  do {
    const page = await get(withQuery(path("webhooks"), { limit: 200, cursor }), { signal });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}

async function withResults(webhook, signal) {
  const deliveries = path("webhooks", webhook.webhook_id, "deliveries");
  const [latest, pending] = await Promise.all([
    get(withQuery(deliveries, { limit: 1 }), { signal }),
    get(withQuery(deliveries, { limit: MOST_PENDING, state: "pending" }), { signal }),
  ]);
  return { webhook, last: latest.items[0] || null, pending: pending.items.length, hasMorePending: Boolean(pending.next_cursor) };
}

const COLUMNS = [
  { title: "Receiver", name: "name", isHead: true, cell: receiverCell },
  { title: "State", cell: ({ webhook }) => stateOf(webhook) },
  { title: "Last result", cell: lastCell },
  { title: "Pending", number: true, cell: pendingCell },
  { title: "Sends", cell: sendsCell },
  { title: "Project", name: "project", cell: ({ webhook }) => webhook.project || "all" },
  { title: "Format", cell: ({ webhook }) => FORMAT_NAMES[webhook.format] || webhook.format },
];

const addressOfWebhook = (webhook, query) => addressOf(["settings", "webhooks", webhook.webhook_id], query);

function receiverCell({ webhook }) {
  const link = el("a", { href: addressOfWebhook(webhook), id: `webhook-${webhook.webhook_id}` }, title(webhook));
  return webhook.name ? [link, el("span", { class: "quiet under" }, host(webhook))] : link;
}

function sendsCell({ webhook }) {
  const severity = webhook.min_severity === "critical" ? "critical only" : `from ${words(webhook.min_severity)} on`;
  return [eventNames(webhook.events), el("span", { class: "quiet under" }, severity)];
}

function lastCell({ last }) {
  if (last === undefined) return "…";
  if (last === null) return el("span", { class: "quiet" }, "nothing sent yet");
  const attempt = last.attempts.at(-1);
  const answer = attempt ? `${outcomeOf(attempt)}, ` : "";
  return [resultOf(last), el("span", { class: "quiet under" }, answer, since(last.updated_at))];
}

function pendingCell({ webhook, pending, hasMorePending }) {
  if (pending === undefined) return "…";
  if (!pending) return "0";
  return el("a", { href: addressOfWebhook(webhook, { state: "pending" }) }, `${count(pending)}${hasMorePending ? "+" : ""}`);
}

const FIRST_STEPS =
  "For Slack, create an incoming webhook in Slack and add its URL here. Discord, Alertmanager and receivers of your own " +
  "work the same way.";

function firstSteps() {
  return el(
    "section",
    { class: "notice" },
    el("p", {}, "There are no webhooks yet, so no notification is sent when a layer dies."),
    el("p", { class: "quiet" }, FIRST_STEPS),
  );
}
