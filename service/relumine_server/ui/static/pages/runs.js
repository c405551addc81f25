// The list of runs: counters that filter, filters, search, order, selection. Everything but the selection is in the URL.

import { changeQuery, readAddress } from "../core/address.js";
import { conditionalGet, get, path, withQuery } from "../core/api.js";
import { el, replace, updateList } from "../core/elements.js";
import { count, counted } from "../core/format.js";
import { permissions } from "../core/login.js";
import { pauseControl } from "../core/pause.js";
import { poll } from "../core/poll.js";
import { FILTERS, PAGE_SIZE, runsAddress } from "../core/runs_address.js";
import { filterBar } from "./runs/filters.js";
import { firstSteps } from "./runs/first_steps.js";
import { groupRow, inGroups } from "./runs/groups.js";
import { COLUMN_COUNT, runRow, tableHead } from "./runs/row.js";
import { selectionBar } from "./runs/selection.js";

const REFRESH_MS = 5000;

// The filters behind each counter, as the API has them.
const COUNTERS = [
  { view: "training", title: "Training", count: "running", filters: () => ({ status: "running" }) },
  { view: "attention", title: "Needs attention", count: "needs_attention", filters: () => ({ needs_attention: true }) },
  { view: "died", title: "Died in 7 days", count: "died_last_7_days", filters: (counts) => ({ died_since: counts?.died_since }) },
  {
    view: "unseen",
    title: "Stalled or unwatched",
    count: "stalled_or_unwatched",
    filters: () => ({ stalled_or_unwatched: true }),
  },
];

export async function showRuns({ root, signal }) {
  document.title = "Runs · Relumine";
  const rights = { canWrite: false, canManage: false };
  permissions().then(
    (granted) => Object.assign(rights, granted),
    () => {}, // the list reports the error
  );
  const list = new RunList(root, signal, rights);
  await poll(() => list.refresh(), signal, list.pause);
}

class RunList {
  constructor(root, signal, rights) {
    this.signal = signal;
    this.older = []; // runs of further pages that were loaded
    this.cursor = null;
    this.traces = new Map();
    this.selected = new Map();
    this.getPage = conditionalGet();
    this.pause = pauseControl();
    this.counters = el("div", { class: "counters", role: "group", "aria-label": "Counters that filter the runs" });
    this.filters = filterBar((changes) => this.change(changes));
    this.body = el("tbody");
    this.caption = el("caption");
    this.head = el("thead");
    this.table = el("div", { class: "scroll runs" }, el("table", {}, this.caption, this.head, this.body));
    this.empty = el("div", { hidden: true });
    this.more = el("button", { type: "button", id: "older-runs", hidden: true, click: () => this.loadMore() }, "Show more runs");
    this.problem = el("p", { class: "problem", role: "alert" });
    this.selection = selectionBar(this.selected, { rights, onDone: () => this.clearSelection() });
    replace(
      root,
      el("div", { class: "page-head" }, el("h1", {}, "Runs"), this.pause.root),
      this.counters,
      this.filters.root,
      this.selection.root,
      this.table,
      this.empty,
      el("p", { class: "actions" }, this.more),
      this.problem,
    );
    this.renderHead();
  }

  // The address of the first page, or of the one at a cursor.
  address(cursor = null) {
    const { query } = readAddress();
    const counter = COUNTERS.find(({ view }) => view === query.get("view"));
    return withQuery(runsAddress(query, counter?.filters(this.counts)), { cursor });
  }

  async refresh() {
    const counters = this.refreshCounters();
    if (!this.counts && readAddress().query.has("view")) await counters; // a filter may need what they say
    const view = location.hash;
    await Promise.all([this.refreshRows(view), counters]);
    return REFRESH_MS;
  }

  // The rows are shown as soon as they are there: they do not wait for the counters.
  async refreshRows(view) {
    const page = await this.getPage(this.address(), { signal: this.signal });
    if (page === null || view !== location.hash) return;
    this.keepPushedOut(page.items);
    this.newest = page.items;
    if (!this.older.length) this.cursor = page.next_cursor;
    this.render();
    await this.refreshTraces();
  }

  // A new run pushes the last one out of the first page; where further pages are shown it belongs to them now.
  keepPushedOut(items) {
    if (!this.older.length) return;
    const ids = new Set(items.map((run) => run.run_id));
    this.older.unshift(...this.newest.filter((run) => !ids.has(run.run_id)));
  }

  // Shows other runs: the filters have changed. How runs are grouped does not change which they are.
  async change(changes) {
    if ("by" in changes) changes.folded = null;
    changeQuery(changes);
    if (this.newest && Object.keys(changes).every((name) => ["by", "folded"].includes(name))) {
      this.render();
      return;
    }
    this.older = [];
    this.problem.textContent = "";
    this.renderHead();
    try {
      await this.refresh();
    } catch (error) {
      if (!this.signal.aborted) this.problem.textContent = error.message;
    }
  }

  async loadMore() {
    this.more.disabled = true;
    try {
      const page = await get(this.address(this.cursor), { signal: this.signal });
      this.older.push(...page.items);
      this.cursor = page.next_cursor;
      this.render();
      await this.refreshTraces();
    } catch (error) {
      if (!this.signal.aborted) this.problem.textContent = error.message;
    }
    this.more.disabled = false;
  }

  runs() {
    const newestIds = new Set(this.newest.map((run) => run.run_id));
    return [...this.newest, ...this.older.filter((run) => !newestIds.has(run.run_id))];
  }

  render() {
    const runs = this.runs();
    const items = inGroups(runs.map((run) => ({ run, trace: this.traces.get(run.run_id) || null })));
    updateList(
      this.body,
      items,
      ({ group, run }) => (group ? `group ${group.key}` : run.run_id),
      (item) => this.row(item),
    );
    this.updateBoxes();
    this.caption.textContent = counted(runs.length, "run") + (this.cursor ? " shown, more below" : "");
    this.more.hidden = !this.cursor;
    this.table.hidden = !runs.length;
    this.empty.hidden = Boolean(runs.length);
    if (!runs.length) this.renderEmpty();
    this.filters.offer(runs);
  }

  row(item) {
    const onSelect = (ids, isSelected) => this.select(ids, isSelected);
    if (!item.group) return runRow(item, { onSelect });
    return groupRow(item.group, { columns: COLUMN_COUNT, onToggle: () => this.render(), onSelect });
  }

  select(ids, isSelected) {
    for (const run of this.runs()) {
      if (!ids.includes(run.run_id)) continue;
      if (isSelected) this.selected.set(run.run_id, run);
      else this.selected.delete(run.run_id);
    }
    this.selectionChanged();
  }

  selectionChanged() {
    this.updateBoxes();
    this.selection.update();
  }

  // Rows stay the same nodes while the selection changes.
  updateBoxes() {
    for (const box of this.body.querySelectorAll("td.select input")) {
      const ids = box.dataset.ids.split(" ");
      const chosen = ids.filter((id) => this.selected.has(id)).length;
      box.checked = chosen === ids.length;
      box.indeterminate = chosen > 0 && chosen < ids.length;
    }
  }

  renderEmpty() {
    const { query } = readAddress();
    const isFiltered = [...FILTERS, "view"].some((name) => name !== "sort" && query.get(name));
    const version = String(isFiltered);
    if (this.empty.dataset.version === version) return;
    this.empty.dataset.version = version;
    const clear = el("button", { type: "button", click: () => this.clearFilters() }, "Clear all filters");
    replace(this.empty, isFiltered ? el("p", { class: "notice" }, "No run matches these filters. ", clear) : firstSteps());
  }

  clearFilters() {
    this.change(Object.fromEntries([...FILTERS, "view"].map((name) => [name, null])));
    this.filters.read();
  }

  clearSelection() {
    this.selected.clear();
    this.selectionChanged();
    this.change({});
  }

  renderHead() {
    replace(
      this.head,
      tableHead(readAddress().query.get("sort") || "-created_at", (sort) => this.change({ sort })),
    );
  }

  async refreshCounters() {
    const { query } = readAddress();
    const filters = Object.fromEntries(["project", "group", "tag", "q"].map((name) => [name, query.get(name)]));
    this.counts = await get(withQuery(path("run-counts"), filters), { signal: this.signal });
    const version = JSON.stringify([this.counts, query.get("view")]);
    if (this.counters.dataset.version === version) return;
    this.counters.dataset.version = version;
    replace(
      this.counters,
      COUNTERS.map((counter) => this.counterButton(counter, this.counts[counter.count])),
    );
  }

  counterButton({ view, title }, value) {
    const isPressed = readAddress().query.get("view") === view;
    const click = () => this.change({ view: isPressed ? null : view });
    return el(
      "button",
      { type: "button", id: `counter-${view}`, "aria-pressed": String(isPressed), click },
      el("strong", {}, count(value)),
      title,
    );
  }

  // Loads the sparklines of the runs that have changed since.
  async refreshTraces() {
    const outdated = this.runs().filter(({ run_id: id, updated_at: updatedAt }) => this.traces.get(id)?.updatedAt !== updatedAt);
    if (!outdated.length) return;
    const ids = outdated.slice(0, PAGE_SIZE).map((run) => run.run_id);
    const answer = await get(withQuery(path("run-traces"), { run_ids: ids.join(",") }), { signal: this.signal });
    const updatedAt = new Map(outdated.map((run) => [run.run_id, run.updated_at]));
    for (const trace of answer.items) this.traces.set(trace.run_id, { ...trace, updatedAt: updatedAt.get(trace.run_id) });
    this.render();
  }
}
