// Several runs beside each other: health, first alert, charts over one axis of steps, differences of their configuration.

import { changeQuery, readAddress } from "../core/address.js";
import { conditionalGet, path } from "../core/api.js";
import { el, replace } from "../core/elements.js";
import { poll } from "../core/poll.js";
import { CompareCharts } from "./compare/charts.js";
import { ConfigTable } from "./compare/config_table.js";
import { Picker } from "./compare/picker.js";
import { summaryTable } from "./compare/summary.js";

const REFRESH_MS = 10_000;
export const MOST_RUNS = 8;

export async function showCompare({ root, signal }) {
  document.title = "Compare · Relumine";
  const page = new ComparePage(root, signal);
  await poll(() => page.refresh(), signal);
}

class ComparePage {
  constructor(root, signal) {
    this.signal = signal;
    const named = (readAddress().query.get("runs") || "").split(",").filter(Boolean);
    // A slot is a colour and a dash. A run keeps its slot when others are removed.
    this.runs = [...new Set(named)].slice(0, MOST_RUNS).map((id, slot) => newEntry(id, slot));
    this.picker = new Picker({ signal, onAdd: (id) => this.add(id), onRemove: (id) => this.remove(id) });
    this.summary = el("section");
    this.charts = new CompareCharts(signal);
    this.config = new ConfigTable();
    this.renderedVersion = "";
    replace(root, el("h1", {}, "Compare runs"), this.picker.root, this.summary, this.charts.root, this.config.root);
    this.render();
  }

  async refresh() {
    await Promise.all(this.runs.map((entry) => this.read(entry)));
    this.render();
    return REFRESH_MS;
  }

  // A run that was deleted, or that the key may not see, does not keep the others from being shown.
  async read(entry) {
    try {
      const overview = await entry.getOverview(path("runs", entry.id, "overview"), { signal: this.signal });
      if (overview) Object.assign(entry, { overview, version: entry.version + 1 });
      entry.problem = "";
    } catch (error) {
      if (this.signal.aborted || !error.status || error.status === 401 || error.status >= 500) throw error;
      entry.problem = error.message;
    }
  }

  async add(id) {
    if (this.runs.length >= MOST_RUNS || this.runs.some((entry) => entry.id === id)) return;
    const used = new Set(this.runs.map(({ slot }) => slot));
    const slot = [...Array(MOST_RUNS).keys()].find((candidate) => !used.has(candidate));
    this.runs.push(newEntry(id, slot));
    this.changed();
    await this.refresh();
  }

  remove(id) {
    this.runs = this.runs.filter((entry) => entry.id !== id);
    this.changed();
  }

  changed() {
    changeQuery({ runs: this.runs.map(({ id }) => id).join(",") });
    this.render();
  }

  render() {
    this.picker.show(this.runs);
    const version = JSON.stringify(this.runs.map(({ id, slot, version, problem }) => [id, slot, version, problem]));
    if (version === this.renderedVersion) return;
    this.renderedVersion = version;
    const loaded = this.runs.filter(({ overview }) => overview);
    replace(this.summary, loaded.length ? summaryTable(loaded) : []);
    this.charts.show(loaded);
    this.config.show(loaded);
  }
}

function newEntry(id, slot) {
  return { id, slot, overview: null, version: 0, problem: "", getOverview: conditionalGet() };
}
