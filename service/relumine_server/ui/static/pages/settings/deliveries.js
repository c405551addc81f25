// The delivery log of a webhook: filtered and paged by the server, every attempt, the body that was sent.

import { get, path, post, withQuery } from "../../core/api.js";
import { changeQuery, runAddress } from "../../core/address.js";
import { el, replace } from "../../core/elements.js";
import { count, counted } from "../../core/format.js";
import { messageOf, perform, statusLine } from "./actions.js";
import { liveTable } from "./live_table.js";
import { since } from "./times.js";
import { EVENTS, outcomeOf, resultOf } from "./webhook_words.js";

const STATES = ["pending", "delivered", "failed", "cancelled"];
const PAGE_SIZE = 50;

export class DeliveryLog {
  constructor(webhookId, query, signal) {
    Object.assign(this, { webhookId, signal, state: query.get("state") || "", cursor: query.get("cursor") || "" });
    this.open = new Set(); // the ids of <details> that are open
    this.listedIds = [];
    this.filter = this.makeFilter();
    this.newer = el("p");
    this.body = el("div");
    this.pages = el("div", { class: "actions" });
    this.table = liveTable("Deliveries, newest first", this.columns(), (delivery) => delivery.delivery_id);
    this.root = el(
      "section",
      {},
      el("div", { class: "head" }, el("h2", {}, "Delivery log"), this.filter),
      this.newer,
      this.body,
      this.pages,
    );
  }

  makeFilter() {
    const options = [
      el("option", { value: "" }, "all"),
      STATES.map((state) => el("option", { value: state, selected: state === this.state }, state)),
    ];
    const select = el("select", { id: "delivery-state", change: () => this.show({ state: select.value, cursor: "" }) }, options);
    return el("label", { class: "inline" }, "State", select);
  }

  // Shows another part of the log; the address follows.
  async show(change) {
    Object.assign(this, change);
    changeQuery({ state: this.state, cursor: this.cursor });
    this.open.clear();
    this.listedIds = [];
    try {
      await this.refresh();
    } catch (error) {
      if (!this.signal.aborted) replace(this.body, el("p", { class: "problem", role: "alert" }, messageOf(error)));
    }
  }

  async refresh({ showNewer = false } = {}) {
    const { state, cursor } = this;
    const address = withQuery(path("webhooks", this.webhookId, "deliveries"), { state, cursor, limit: PAGE_SIZE });
    const page = await get(address, { signal: this.signal });
    if (state !== this.state || cursor !== this.cursor) return; // the reader went on meanwhile
    const items = showNewer ? page.items : this.withoutNewer(page.items);
    this.showNewer(page.items.length - items.length);
    this.listedIds = items.map((delivery) => delivery.delivery_id);
    this.showItems(items);
    this.showPages(page.next_cursor);
  }

  // While an attempt or a body is being read, new rows above it would move it: they wait for a click.
  withoutNewer(items) {
    if (!this.open.size || !this.listedIds.length) return items;
    const first = items.findIndex((delivery) => this.listedIds.includes(delivery.delivery_id));
    return first > 0 ? items.slice(first) : items;
  }

  showNewer(waiting) {
    if (this.waiting === waiting) return;
    this.waiting = waiting;
    const button = el("button", {
      type: "button",
      class: "small",
      click: () => this.refresh({ showNewer: true }).catch(() => {}),
    }); // the poll reports errors
    button.textContent = waiting === 1 ? "Show 1 newer delivery" : `Show ${count(waiting)} newer deliveries`;
    replace(this.newer, waiting ? button : "");
  }

  showItems(items) {
    if (items.length) {
      if (!this.table.root.isConnected) replace(this.body, this.table.root);
      this.table.update(items);
      return;
    }
    const text = this.state ? `No delivery is ${this.state}.` : "There are no deliveries yet. Send a test to see one.";
    replace(this.body, el("p", { class: "quiet" }, text));
  }

  showPages(next) {
    const version = `${this.cursor} ${next}`;
    if (this.pagesVersion === version) return;
    this.pagesVersion = version;
    const button = (id, label, cursor) => el("button", { type: "button", id, click: () => this.show({ cursor }) }, label);
    replace(this.pages, this.cursor ? button("newest", "Newest", "") : null, next ? button("older", "Older", next) : null);
  }

  columns() {
    return [
      {
        title: "Event",
        name: "event",
        isHead: true,
        cell: (delivery) => el("span", { title: delivery.event }, EVENTS[delivery.event]?.[0] || delivery.event),
      },
      { title: "Created", cell: (delivery) => since(delivery.created_at) },
      { title: "Run", name: "run", cell: (delivery) => runCell(delivery) },
      { title: "Alerts", number: true, cell: (delivery) => count(delivery.alert_count) },
      { title: "State", cell: resultOf },
      { title: "Attempts", name: "details", cell: (delivery) => this.attempts(delivery) },
      { title: "Body", name: "details", cell: (delivery) => this.payload(delivery) },
      { title: "Action", cell: (delivery) => this.redeliverButton(delivery) },
    ];
  }

  attempts(delivery) {
    if (!delivery.attempts.length) return "none yet";
    const last = delivery.attempts.at(-1);
    const items = delivery.attempts.map((attempt) =>
      el("li", {}, since(attempt.attempted_at), ` · ${outcomeOf(attempt)} · ${count(attempt.duration_ms)} ms`, bodyOf(attempt)),
    );
    return this.details(`attempts-${delivery.delivery_id}`, `${delivery.attempts.length}: ${outcomeOf(last)}`, () =>
      el("ol", {}, items),
    );
  }

  payload(delivery) {
    return this.details(`body-${delivery.delivery_id}`, "show", () => {
      const parent = el("div", { "aria-live": "polite" }, "Loading…");
      showPayload(parent, delivery.delivery_id, this.signal);
      return parent;
    });
  }

  // A <details> whose content is made when it is opened, and which stays open when its row is drawn again.
  details(id, summary, makeContent) {
    const node = el("details", { open: this.open.has(id), toggle: () => update() }, el("summary", { id }, summary));
    const update = () => {
      if (node.open) this.open.add(id);
      else this.open.delete(id);
      if (node.open && node.children.length === 1) node.append(makeContent());
    };
    if (node.open) node.append(makeContent());
    return node;
  }

  redeliverButton(delivery) {
    const line = statusLine();
    const id = `redeliver-${delivery.delivery_id}`;
    const isPending = delivery.state === "pending";
    const label = isPending ? "Try now" : "Redeliver";
    const button = el("button", { type: "button", class: "small", id, click: redeliver }, label);
    const log = this;
    async function redeliver() {
      const answer = await perform(
        button,
        line,
        () => post(path("deliveries", delivery.delivery_id, "redeliver"), {}),
        isPending ? "The next attempt is made now." : "Sent again with the same id.",
      );
      if (answer) await log.refresh().catch(() => {}); // the poll reports what is wrong
    }
    return [button, line];
  }
}

function runCell(delivery) {
  if (!delivery.run_id) return "–";
  const link = el("a", { href: runAddress(delivery.run_id), title: delivery.run_id }, delivery.run_id.slice(0, 13));
  return delivery.project ? [link, el("span", { class: "quiet under" }, delivery.project)] : link;
}

function bodyOf(attempt) {
  if (!attempt.response_body) return null;
  return el("pre", { tabindex: "0", "aria-label": "The receiver's answer" }, attempt.response_body);
}

async function showPayload(parent, deliveryId, signal) {
  try {
    const { payload } = await get(path("deliveries", deliveryId), { signal });
    if (payload === null) replace(parent, el("p", { class: "quiet" }, "The body is written when it is sent."));
    else
      replace(
        parent,
        el(
          "pre",
          { tabindex: "0", "aria-label": `The body that was sent, ${counted(payload.length, "character")}` },
          indented(payload),
        ),
      );
  } catch (error) {
    if (!signal.aborted) replace(parent, el("p", { class: "problem" }, messageOf(error)));
  }
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
