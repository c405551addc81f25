// The filters above the list of runs.

import { readAddress } from "../../core/address.js";
import { el } from "../../core/elements.js";
import { HEALTHS, STATUSES, words } from "../../core/states.js";
import { GROUPINGS } from "./groups.js";
import { savedViews } from "./views.js";

const TYPING_MS = 300;

// onChange is called with the parts of the query that have changed.
export function filterBar(onChange) {
  const search = field("q", "search", { type: "search", placeholder: "name, id or group" });
  const texts = { project: field("project", "project"), group: field("group", "group"), tag: field("tag", "tag") };
  const selects = {
    status: choice("status", STATUSES),
    health: choice("health", HEALTHS),
    by: choice("by", Object.keys(GROUPINGS), "nothing"),
  };
  const inputs = { q: search, ...texts, ...selects };
  const lists = Object.fromEntries(Object.keys(texts).map((name) => [name, el("datalist", { id: `offered-${name}s` })]));
  for (const [name, input] of Object.entries(texts)) input.setAttribute("list", `offered-${name}s`);
  let timer = 0;
  let changes = {};
  function changeSoon(name, input) {
    changes[name] = input.value.trim() || null;
    clearTimeout(timer);
    timer = setTimeout(change, input.tagName === "SELECT" ? 0 : TYPING_MS);
  }
  function change() {
    onChange(changes);
    changes = {};
  }
  for (const [name, input] of Object.entries(inputs)) {
    input.addEventListener(input.tagName === "SELECT" ? "change" : "input", () => changeSoon(name, input));
  }
  const label = (text, input) => el("label", {}, text, input);
  const form = el(
    "form",
    { class: "filters", role: "search", submit: (event) => event.preventDefault() },
    label("Search", search),
    label("Project", texts.project),
    label("Group", texts.group),
    label("Tag", texts.tag),
    label("Status", selects.status),
    label("Health", selects.health),
    el("span", { class: "labelled" }, el("label", { for: "filter-by" }, "Group by"), selects.by),
    Object.values(lists),
  );

  function read() {
    const { query } = readAddress();
    for (const [name, input] of Object.entries(inputs)) input.value = query.get(name) || "";
  }

  // Offers the values of the runs that are shown.
  function offer(runs) {
    const offered = { project: new Set(), group: new Set(), tag: new Set() };
    for (const run of runs) {
      offered.project.add(run.project);
      if (run.group) offered.group.add(run.group);
      for (const tag of run.tags) offered.tag.add(tag);
    }
    for (const [name, values] of Object.entries(offered)) {
      const options = [...values].sort().map((value) => el("option", { value }));
      if (options.length !== lists[name].children.length) lists[name].replaceChildren(...options);
    }
  }

  const root = el("div", { class: "filter-line" }, form, savedViews()); // a form cannot hold another one
  read();
  return { root, offer, read };
}

function field(name, label, properties = {}) {
  return el("input", { name, id: `filter-${name}`, maxlength: 256, autocomplete: "off", size: 12, ...properties });
}

function choice(name, values, none = "any") {
  const options = values.map((value) => el("option", { value }, words(value)));
  return el("select", { name, id: `filter-${name}` }, el("option", { value: "" }, none), options);
}
