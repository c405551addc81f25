// The list of open or closed incidents: filters, rows, older pages, selection.

import { changeQuery, readAddress } from "../../core/address.js";
import { get, path, withQuery } from "../../core/api.js";
import { el, replace, updateList } from "../../core/elements.js";
import { counted, refreshAgo } from "../../core/format.js";
import { poll } from "../../core/poll.js";
import { BulkBar } from "./bulk_bar.js";
import { FilterBar, SERVER_FILTERS } from "./filters.js";
import { COLUMNS, incidentRow } from "./incident_row.js";
import { problemLine } from "../../parts/problem.js";

const PAGE_SIZE = 50;
const MOST_PER_REQUEST = 200;
const REFRESH_MS = 5000;

export class IncidentList {
  constructor(root, signal, rights, state) {
    this.signal = signal;
    this.state = state;
    this.canSelect = rights.canWrite;
    this.incidents = null; // null until the first page is there
    this.cursor = null;
    this.version = 0;
    this.selected = new Map();
    this.opened = new Set(); // ids of rows that show their alerts
    this.filters = new FilterBar((changes) => this.change(changes));
    this.all = this.selectAllBox();
    this.body = el("tbody");
    this.caption = el("caption", {}, "Loading …");
    this.table = el("table", { class: "incidents" }, this.caption, el("thead", {}, this.headRow()), this.body);
    this.empty = el("div", { hidden: true });
    const onMore = () => this.loadMore();
    this.more = el("button", { type: "button", id: "older-incidents", hidden: true, click: onMore }, "Show older incidents");
    this.problem = problemLine(this.signal);
    this.bulk = new BulkBar(this.selected, { state, onChange: () => this.selectionChanged() });
    const below = el("p", { class: "actions" }, this.more);
    replace(root, this.filters.root, this.table, this.empty, below, this.problem.root, this.bulk.root);
  }

  selectAllBox() {
    const label = "Select all incidents that are shown";
    return el("input", { type: "checkbox", id: "select-all", "aria-label": label, change: () => this.selectAll() });
  }

  headRow() {
    const cells = Object.entries(COLUMNS).map(([name, title]) => el("th", { scope: "col", class: name }, title));
    return el("tr", {}, this.canSelect ? el("td", { class: "select" }, this.all) : null, cells);
  }

  async run() {
    await poll(() => this.refresh(), this.signal);
  }

  query() {
    const { query } = readAddress();
    return { state: this.state, ...Object.fromEntries(SERVER_FILTERS.map((name) => [name, query.get(name)])) };
  }

  // Reads as many rows again as are shown, so that none of them disappears.
  async refresh() {
    const query = this.query();
    const { version } = this; // another one at the end: filters or rows have changed meanwhile
    const wanted = Math.max(PAGE_SIZE, this.incidents?.length || 0);
    const incidents = [];
    let cursor = null;
    do {
      const limit = Math.min(MOST_PER_REQUEST, wanted - incidents.length);
      const page = await get(withQuery(path("incidents"), { ...query, limit, cursor }), { signal: this.signal });
      incidents.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor && incidents.length < wanted);
    if (version === this.version) this.set(incidents, cursor);
    return REFRESH_MS * Math.ceil(wanted / MOST_PER_REQUEST);
  }

  set(incidents, cursor) {
    this.version += 1;
    this.incidents = incidents;
    this.cursor = cursor;
    this.render();
  }

  async loadMore() {
    this.more.disabled = true;
    await this.problem.attempt(async () => {
      const page = await get(withQuery(path("incidents"), { ...this.query(), limit: PAGE_SIZE, cursor: this.cursor }), {
        signal: this.signal,
      });
      const ids = new Set(this.incidents.map(({ id }) => id));
      this.set([...this.incidents, ...page.items.filter(({ id }) => !ids.has(id))], page.next_cursor);
    });
    this.more.disabled = false;
  }

  // Shows other incidents, or other ones of those that are there: the filters have changed.
  async change(changes) {
    if (this.signal.aborted) return; // the reader has left while the typing was waited for
    changeQuery(changes);
    if (Object.keys(changes).every((name) => !SERVER_FILTERS.includes(name))) {
      this.render();
      return;
    }
    this.version += 1;
    this.incidents = null;
    this.clearSelection();
    await this.problem.attempt(() => this.refresh());
  }

  async selectionChanged() {
    this.updateSelection();
    await this.problem.attempt(() => this.refresh());
  }

  visibleIncidents() {
    const words = (readAddress().query.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
    return this.incidents.filter((incident) => words.every((word) => searchText(incident).includes(word)));
  }

  render() {
    if (this.incidents === null) return;
    const visible = this.visibleIncidents();
    this.dropVanished();
    const { selected, opened, canSelect: isSelectable } = this;
    const options = { selected, opened, isSelectable, onSelect: () => this.updateSelection() };
    updateList(
      this.body,
      visible,
      ({ id }) => id,
      (incident) => incidentRow(incident, options),
    );
    refreshAgo(this.body);
    this.filters.offer(this.incidents);
    this.caption.textContent = `${counted(visible.length, "incident")}${this.cursor ? " shown, older ones below" : ""}`;
    this.more.hidden = !this.cursor;
    this.table.hidden = !visible.length;
    this.empty.hidden = Boolean(visible.length);
    if (!visible.length) replace(this.empty, this.emptyNotice());
    this.updateSelection();
  }

  emptyNotice() {
    const { query } = readAddress();
    const isFiltered = ["q", ...SERVER_FILTERS].some((name) => query.get(name));
    if (!isFiltered) return el("p", { class: "notice" }, EMPTY[this.state]);
    const clear = el("button", { type: "button", id: "clear-filters", click: () => this.clearFilters() }, "Clear the filters");
    const text = this.cursor ? "None of the incidents loaded so far matches. " : "No incident matches these filters. ";
    return el("p", { class: "notice" }, text, clear);
  }

  clearFilters() {
    const changes = Object.fromEntries(["q", ...SERVER_FILTERS].map((name) => [name, null]));
    changeQuery(changes);
    this.filters.read();
    this.change(changes);
  }

  selectAll() {
    for (const incident of this.visibleIncidents()) {
      if (this.all.checked) this.selected.set(incident.id, incident);
      else this.selected.delete(incident.id);
    }
    this.updateSelection();
  }

  clearSelection() {
    this.selected.clear();
    this.updateSelection();
  }

  // An incident that is not in the list any more is not acted on unseen.
  dropVanished() {
    const present = new Map(this.incidents.map((incident) => [incident.id, incident]));
    for (const id of [...this.selected.keys()]) {
      if (present.has(id)) this.selected.set(id, present.get(id));
      else this.selected.delete(id);
    }
  }

  updateSelection() {
    const boxes = [...this.body.querySelectorAll("td.select input")];
    for (const box of boxes) box.checked = this.selected.has(box.closest("tr").dataset.incident);
    const checked = boxes.filter((box) => box.checked).length;
    this.all.checked = checked > 0 && checked === boxes.length;
    this.all.indeterminate = checked > 0 && checked < boxes.length;
    this.bulk.update();
  }
}

const EMPTY = {
  open: "No incident is open. When units of a training die, or a training stalls or diverges, it appears here within seconds.",
  closed: "No incident is closed yet. Those whose layer recovered, whose run ended, or that a person resolved appear here.",
};

function searchText({ title, message, project, run_id: runId, run, layers }) {
  const names = layers.map(({ layer_label: label, layer }) => `${label} ${layer}`);
  return [title, message, project, runId, run.name, run.group, ...names].join(" ").toLowerCase();
}
