// Runs of one group or project below a head of their own, which folds. How they are grouped, and what is folded, is in the
// URL. The server orders the runs; a group stands where its first run does.

import { changeQuery, readAddress } from "../../core/address.js";
import { el } from "../../core/elements.js";
import { count, counted } from "../../core/format.js";
import { HEALTHS, badge } from "../../core/states.js";

export const GROUPINGS = { project: "project", group: "group" };

// Returns the name of the grouping in the URL, or null.
export function grouping() {
  const name = readAddress().query.get("by");
  return Object.hasOwn(GROUPINGS, name || "") ? name : null;
}

// Returns the items of the list in their order: {group: {key, title, runs, isFolded}} before the runs of each group.
export function inGroups(items) {
  const by = grouping();
  if (by === null) return items;
  const folded = foldedKeys();
  const groups = new Map();
  for (const item of items) {
    const { key, title } = subject(item.run, by);
    if (!groups.has(key)) groups.set(key, { key, title, isFolded: folded.has(key), items: [] });
    groups.get(key).items.push(item);
  }
  return [...groups.values()].flatMap(({ items: members, ...group }) => [
    { group: { ...group, ids: members.map(({ run }) => run.run_id), healths: healthCounts(members) } },
    ...(group.isFolded ? [] : members),
  ]);
}

function subject(run, by) {
  if (by === "project") return { key: run.project, title: run.project };
  // Groups of the same name in two projects are two groups.
  return { key: JSON.stringify([run.project, run.group]), title: `${run.project} / ${run.group || "no group"}` };
}

function healthCounts(items) {
  const all = items.map(({ run }) => run.health);
  return HEALTHS.map((name) => [name, all.filter((health) => health === name).length]).filter(([, total]) => total);
}

function foldedKeys() {
  const parts = (readAddress().query.get("folded") || "").split(",").filter(Boolean);
  return new Set(parts.map(decode));
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // not an address of this page
  }
}

function toggle(key) {
  const keys = foldedKeys();
  if (!keys.delete(key)) keys.add(key);
  changeQuery({ folded: [...keys].map(encodeURIComponent).join(",") });
}

// onToggle is called when the group was folded or unfolded, onSelect(ids, isSelected) when all of its runs were.
export function groupRow({ key, title, isFolded, ids, healths }, { columns, onToggle, onSelect }) {
  const fold = el(
    "button",
    {
      type: "button",
      id: `fold-${key}`,
      class: "fold",
      "aria-expanded": String(!isFolded),
      click: () => (toggle(key), onToggle()),
    },
    el("span", { "aria-hidden": "true" }, isFolded ? "▸ " : "▾ "),
    title,
  );
  const box = el("input", {
    type: "checkbox",
    id: `select-all-${key}`,
    "data-ids": ids.join(" "),
    "aria-label": `Select all runs of ${title}`,
    change: () => onSelect(ids, box.checked),
  });
  const numbers = healths.map(([name, total]) => el("span", { class: "group-health" }, badge(name), ` ${count(total)}`));
  return el(
    "tr",
    { class: "group" },
    el("td", { class: "select" }, box),
    el(
      "th",
      { scope: "rowgroup", colspan: columns },
      fold,
      " ",
      el("span", { class: "quiet" }, counted(ids.length, "run")),
      numbers,
    ),
  );
}
