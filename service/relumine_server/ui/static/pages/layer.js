// The page of a layer: the states of its units over the steps, each unit on a map, and a table of them.

import { Timeline } from "../charts/timeline.js";
import { changeQuery, readAddress, runAddress } from "../core/address.js";
import { get, path, withQuery } from "../core/api.js";
import { el, facts, plain, replace, runLabel } from "../core/elements.js";
import { ago, count, share } from "../core/format.js";
import { pauseControl } from "../core/pause.js";
import { poll } from "../core/poll.js";
import { badge } from "../core/states.js";
import { attribution } from "./layer/attribution.js";
import { seriesLanes, STATISTICS } from "./layer/series_lanes.js";
import { unitDetail } from "./layer/unit_detail.js";
import { unitMap } from "./layer/unit_map.js";
import { unitTable } from "./layer/unit_table.js";
import { heatMapLegend } from "./run/timeline_controls.js";

const POINTS = 800;
const RUNNING_POLL_MS = 3000;
const ENDED_POLL_MS = 15000;

export async function showLayer({ root, signal }, runId, layerId) {
  const page = new LayerPage(root, runId, layerId, signal);
  await poll(() => page.refresh(), signal, page.pause);
}

class LayerPage {
  constructor(root, runId, layerId, signal) {
    this.address = ["runs", runId, "layers", String(layerId)];
    this.layerId = layerId;
    this.runId = runId;
    this.signal = signal;
    this.version = "";
    this.crumbs = el("p", { class: "crumbs" });
    this.title = el("h1", {}, "Layer");
    this.state = el("span", {});
    this.updated = el("span", { class: "quiet", id: "updated" });
    this.pause = pauseControl(this.updated);
    this.facts = el("div");
    this.timeline = new Timeline({
      label: "Timeline of the layer; + and − zoom, arrows move, 0 shows everything",
      onZoom: (zoom) => this.onZoom(zoom),
      signal,
    });
    this.timeline.root.prepend(el("div", { class: "timeline-head" }, heatMapLegend(), this.timeline.reset));
    this.detail = unitDetail(this.address, signal, () => this.showUnit());
    const onChoose = (unit) => this.detail.choose(unit);
    this.map = unitMap(this.address, signal, { onChange: () => this.showLanes(), onChoose });
    this.attribution = attribution();
    this.table = unitTable(this.address, signal, { onChoose, onShifts: (shifts) => this.attribution.render(shifts) });
    replace(
      root,
      el("div", { class: "run-head" }, el("div", {}, this.crumbs, this.title), this.state, this.updated, this.pause.root),
      this.facts,
      this.timeline.root,
      this.map.controls,
      this.detail.root,
      this.attribution.root,
      this.table.root,
    );
    const { query } = readAddress();
    if (query.has("from") && query.has("to")) this.timeline.zoomTo([Number(query.get("from")), Number(query.get("to"))]);
  }

  async refresh() {
    const [run, page] = await Promise.all([
      get(path("runs", this.runId), { signal: this.signal }),
      get(path("runs", this.runId, "layers"), { signal: this.signal }),
    ]);
    this.waitMs = run.status === "running" ? RUNNING_POLL_MS : ENDED_POLL_MS;
    const layer = page.items.find(({ layer_id: id }) => id === this.layerId);
    this.timeline.root.hidden = !layer;
    this.table.root.hidden = !layer;
    this.attribution.root.hidden ||= !layer;
    if (!layer) {
      replace(
        this.facts,
        el(
          "p",
          { class: "notice", role: "alert" },
          `This run has no layer ${this.layerId}. `,
          el("a", { href: runAddress(this.runId) }, "Its layers"),
        ),
      );
      return this.waitMs;
    }
    this.renderHead(run, layer, page.items);
    const version = `${layer.last_step}@${JSON.stringify(this.timeline.zoom)}`;
    if (version === this.version) return this.waitMs;
    await this.load(layer);
    this.version = version;
    return this.waitMs;
  }

  renderHead(run, layer, layers) {
    document.title = `${plain(layer.label)} · ${runLabel(run)} · Relumine`;
    this.title.textContent = plain(layer.label);
    const inOrder = [...layers].sort((a, b) => a.layer_id - b.layer_id);
    const index = inOrder.findIndex(({ layer_id: id }) => id === this.layerId);
    const neighbour = (other, text) =>
      other
        ? el("a", { href: `#/runs/${encodeURIComponent(this.runId)}/layers/${other.layer_id}`, title: other.label }, text)
        : null;
    replace(
      this.crumbs,
      el("a", { href: runAddress(this.runId) }, runLabel(run)),
      ` / layer ${index + 1} of ${inOrder.length} `,
      neighbour(inOrder[index - 1], "‹ previous"),
      " ",
      neighbour(inOrder[index + 1], "next ›"),
    );
    replace(this.state, badge(layer.state));
    replace(this.updated, "last upload ", ago(run.last_upload_at || run.updated_at));
    replace(this.facts, layerFacts(layer));
  }

  async load(layer) {
    this.layer = layer;
    const [from, to] = this.timeline.zoom || [null, null];
    const query = {
      statistics: STATISTICS.join(","),
      points: POINTS,
      from_step: from && Math.floor(from),
      to_step: to && Math.ceil(to),
    };
    this.series = await get(withQuery(path(...this.address, "series"), query), { signal: this.signal });
    const { step } = this.series;
    if (step.length && !this.timeline.zoom) this.timeline.setDomain(step[0], step.at(-1));
    await Promise.all([this.map.load(layer, this.timeline), this.table.load(layer), this.detail.load(this.timeline)]);
    this.showLanes();
  }

  showLanes() {
    if (!this.series) return;
    const lanes = seriesLanes(this.series);
    this.timeline.setLanes([lanes.states, ...this.map.lanes(), ...this.detail.lanes(), ...lanes.others]);
  }

  async showUnit() {
    await this.detail.load(this.timeline).catch(() => {}); // the next poll reports the error
    this.showLanes();
  }

  async onZoom(zoom) {
    changeQuery(zoom);
    if (this.layer) await this.load(this.layer).catch(() => {}); // the next poll reports the error
  }
}

function layerFacts(layer) {
  return facts([
    ["units", `${count(layer.units)} ${layer.unit_kind}`],
    ["activation", layer.activation],
    ["producer", layer.producer],
    ["active", share(layer.active_rate)],
    ["dying", share(layer.dying_fraction)],
    ["dead", share(layer.dead_fraction)],
    ["born dead", share(layer.born_dead_fraction)],
    ["risk", share(layer.risk)],
    ["counted per", layer.n_unit.replace(/s$/, "")],
    ["sampled steps", share(layer.sampled_share)],
    ["attribution of shifts", layer.split],
    ["not recorded", layer.missing.join(", ")],
  ]);
}
