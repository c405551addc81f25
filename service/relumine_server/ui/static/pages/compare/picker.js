// The runs that are compared, and a search for further ones.

import { readAddress, runAddress } from "../../core/address.js";
import { get, path, withQuery } from "../../core/api.js";
import { el, replace, runLabel, updateList } from "../../core/elements.js";
import { ago } from "../../core/format.js";
import { badge } from "../../core/states.js";
import { swatch } from "./slots.js";

const TYPING_MS = 300;
const MOST_FOUND = 8;
const MOST_RUNS = 8;

export class Picker {
  constructor({ signal, onAdd, onRemove }) {
    this.signal = signal;
    this.onAdd = onAdd;
    this.onRemove = onRemove;
    this.runs = [];
    this.timer = 0;
    this.chosen = el("ul", { class: "chosen", "aria-label": "Compared runs" });
    this.hint = el("p", { class: "quiet" });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.found = el("ul", { class: "found", "aria-label": "Runs to add" });
    this.search = el("input", {
      type: "search",
      id: "add-run",
      maxlength: 256,
      autocomplete: "off",
      placeholder: "name, id or group",
      input: () => this.searchSoon(),
      focus: () => this.searchNow(),
      keydown: (event) => this.onKey(event),
    });
    this.root = el(
      "div",
      { class: "picker" },
      this.chosen,
      el("label", {}, "Add a run", this.search),
      this.hint,
      this.problem,
      this.found,
    );
  }

  show(runs) {
    this.runs = runs;
    const items = runs.map((entry) => ({ id: entry.id, slot: entry.slot, problem: entry.problem, run: shownRun(entry) }));
    updateList(
      this.chosen,
      items,
      ({ id }) => id,
      (item) => this.chosenItem(item),
    );
    this.chosen.hidden = !runs.length;
    this.search.disabled = runs.length >= MOST_RUNS;
    this.hint.textContent = hintFor(runs.length);
    if (runs.length < 2 && !this.isSearched) this.searchNow();
    if (this.items) this.showFound();
  }

  chosenItem(item) {
    const label = item.run ? runLabel(item.run) : item.id;
    return el(
      "li",
      {},
      swatch(item),
      el("a", { href: runAddress(item.id), title: label }, label),
      item.problem ? el("span", { class: "problem" }, item.problem) : null,
      el("button", { type: "button", "aria-label": `Remove ${label}`, click: () => this.onRemove(item.id) }, "×"),
    );
  }

  searchSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.searchNow(), TYPING_MS);
  }

  async searchNow() {
    this.isSearched = true;
    const q = this.search.value.trim();
    const project = readAddress().query.get("project");
    try {
      const address = withQuery(path("runs"), { q, project, limit: MOST_FOUND + MOST_RUNS });
      const page = await get(address, { signal: this.signal });
      if (q !== this.search.value.trim()) return;
      this.problem.textContent = "";
      this.items = page.items;
      this.showFound();
    } catch (error) {
      if (!this.signal.aborted) this.problem.textContent = error.message;
    }
  }

  showFound() {
    const chosen = new Set(this.runs.map(({ id }) => id));
    const free = this.items.filter(({ run_id: id }) => !chosen.has(id)).slice(0, MOST_FOUND);
    const isOpen =
      this.runs.length < MOST_RUNS &&
      (this.runs.length < 2 || document.activeElement === this.search || this.found.contains(document.activeElement));
    updateList(
      this.found,
      isOpen ? free : [],
      ({ run_id: id }) => id,
      (run) => this.foundItem(run),
    );
    if (isOpen && !free.length)
      replace(this.found, el("li", { class: "quiet" }, this.search.value ? "No other run matches." : "There is no other run."));
  }

  foundItem(run) {
    const add = el(
      "button",
      { type: "button", class: "small", "aria-label": `Add ${runLabel(run)}`, click: () => this.add(run.run_id) },
      "Add",
    );
    const where = run.group ? `${run.project} / ${run.group}` : run.project;
    return el(
      "li",
      {},
      add,
      el("span", {}, runLabel(run), " ", el("span", { class: "quiet" }, where)),
      badge(run.health),
      ago(run.created_at),
    );
  }

  add(id) {
    this.search.focus(); // the button of the run goes
    this.onAdd(id).catch((error) => {
      if (!this.signal.aborted) this.problem.textContent = error.message;
    });
  }

  // Enter adds the first run that was found; Escape closes the list.
  onKey(event) {
    if (event.key === "Enter") this.found.querySelector("button")?.click();
    if (event.key !== "Escape") return;
    this.search.value = "";
    this.items = [];
    this.search.blur();
    this.showFound();
  }
}

function shownRun({ overview }) {
  return overview ? { run_id: overview.run.run_id, name: overview.run.name } : null;
}

function hintFor(number) {
  if (number < 2) return "Choose two to eight runs. On the page of runs you can also select some and press Compare.";
  return number >= MOST_RUNS ? "Eight runs are the most that can be told apart; remove one to add another." : "";
}
