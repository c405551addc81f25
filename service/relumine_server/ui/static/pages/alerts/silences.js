// The silences: those in force, planned and ended, and a form for a new one.

import { get, path, remove, withQuery } from "../../core/api.js";
import { el, replace, updateList } from "../../core/elements.js";
import { ago, count, counted, duration, moment, refreshAgo } from "../../core/format.js";
import { refreshOpenAlerts } from "../../core/open_alerts.js";
import { poll } from "../../core/poll.js";
import { badge } from "../../core/states.js";
import { SilenceForm } from "./silence_form.js";
import { problemLine } from "../../parts/problem.js";

const REFRESH_MS = 5000;
const PAGE_SIZE = 200;
const EMPTY = "There is no silence. A silence keeps matching alerts from sending notifications; they are still listed.";
const TITLES = ["State", "Alerts that match", "Silenced now", "Ends", "By", ""];

export async function showSilences(root, signal, { canWrite }) {
  const list = new SilenceList(root, signal, canWrite);
  await poll(() => list.refresh(), signal);
}

class SilenceList {
  constructor(root, signal, canWrite) {
    this.signal = signal;
    this.canWrite = canWrite;
    this.body = el("tbody");
    this.caption = el("caption");
    const heads = TITLES.map((title) => el("th", { scope: "col" }, title || el("span", { class: "hidden-text" }, "Actions")));
    this.table = el("table", { class: "silences", hidden: true }, this.caption, el("thead", {}, el("tr", {}, heads)), this.body);
    this.empty = el("p", { class: "notice", hidden: true }, EMPTY);
    this.problem = problemLine(this.signal);
    const form = canWrite ? new SilenceForm(() => this.problem.attempt(() => this.refresh())).root : null;
    replace(root, form, this.table, this.empty, this.problem.root);
  }

  async refresh() {
    const silences = await readAll(this.signal);
    const items = silences.map(withPhase).sort(byPhase);
    const onEnd = this.canWrite ? (silence) => this.endNow(silence) : null;
    updateList(
      this.body,
      items,
      ({ silence_id: id }) => id,
      (silence) => silenceRow(silence, onEnd),
    );
    refreshAgo(this.body);
    this.caption.textContent = `${counted(items.length, "silence")}. They are deleted 30 days after their end.`;
    this.table.hidden = !items.length;
    this.empty.hidden = Boolean(items.length);
    return REFRESH_MS;
  }

  endNow(silence) {
    return this.problem.attempt(async () => {
      await remove(path("silences", silence.silence_id));
      await this.refresh();
      refreshOpenAlerts();
    });
  }
}

async function readAll(signal) {
  const silences = [];
  let cursor = null;
  do {
    const page = await get(withQuery(path("silences"), { limit: PAGE_SIZE, cursor }), { signal });
    silences.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return silences;
}

const PHASES = ["active", "planned", "ended"];

// The minutes that are left are part of it, so that its row is rendered again as they pass.
function withPhase(silence) {
  const minutes = Math.max(0, Math.floor((new Date(silence.ends_at) - Date.now()) / 60_000));
  return { ...silence, phase: phaseOf(silence), minutes };
}

function phaseOf(silence) {
  if (silence.active) return "active";
  return new Date(silence.starts_at) > new Date() ? "planned" : "ended";
}

function byPhase(a, b) {
  return PHASES.indexOf(a.phase) - PHASES.indexOf(b.phase) || a.ends_at.localeCompare(b.ends_at);
}

function silenceRow(silence, endNow) {
  const { phase, project, author, comment } = silence;
  const cells = [
    ["state", badge(phase === "active" ? "in_force" : phase)],
    ["what", [matcherList(silence), project ? under(`only of ${project}`) : null]],
    ["number", phase === "active" ? count(silence.matched) : "–"],
    ["ends", endCell(silence)],
    ["author", [author, comment ? under(comment) : null]],
    ["end-now", endNow && phase !== "ended" ? endButton(silence, endNow) : null],
  ];
  const row = cells.map(([name, content]) => el("td", { class: name }, content));
  return el("tr", { class: phase === "ended" ? "over" : null }, row);
}

function under(text) {
  return el("span", { class: "quiet under" }, text);
}

function endButton(silence, endNow) {
  const properties = { type: "button", class: "small", id: `end-${silence.silence_id}`, click: () => endNow(silence) };
  return el("button", properties, silence.phase === "active" ? "End now" : "Cancel");
}

function endCell({ phase, starts_at: start, ends_at: end, minutes }) {
  if (phase === "ended") return ago(end);
  const starts = phase === "planned" ? under(["starts ", moment(start)]) : null;
  return [moment(end), under(`in ${duration(minutes * 60)}`), starts];
}

function matcherList({ matchers }) {
  const items = Object.entries(matchers).map(([name, value]) => el("code", {}, `${name}: ${value}`));
  return el("span", { class: "matchers" }, items);
}
