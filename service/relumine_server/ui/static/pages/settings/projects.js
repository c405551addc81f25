// The projects, with the health of their runs. Each has a page with its retention and its thresholds.

import { get, path, withQuery } from "../../core/api.js";
import { addressOf, changeQuery } from "../../core/address.js";
import { el, plain, replace } from "../../core/elements.js";
import { ago, count, counted } from "../../core/format.js";
import { HEALTHS, badge } from "../../core/states.js";
import { perform, statusLine } from "./actions.js";
import { liveTable } from "./live_table.js";

const PAGE_SIZE = 200;
const SEARCH_FROM = 10; // fewer projects need no search

export async function showProjects({ root, signal }, query) {
  const view = { signal, projects: [], next: null, text: query.get("q") || "" };
  view.table = liveTable("Projects, by name", COLUMNS, (project) => project.project);
  view.search = el("div");
  view.list = el("div");
  replace(root, el("h1", {}, "Projects"), view.search, view.list);
  await loadMore(view);
  if (view.projects.length >= SEARCH_FROM || view.text) replace(view.search, searchField(view));
}

async function loadMore(view) {
  const page = await get(withQuery(path("projects"), { limit: PAGE_SIZE, cursor: view.next }), { signal: view.signal });
  Object.assign(view, { projects: [...view.projects, ...page.items], next: page.next_cursor });
  showList(view);
}

function searchField(view) {
  const field = el("input", { type: "search", value: view.text, maxlength: 200, input: () => search(view, field.value) });
  return el("div", { class: "actions" }, el("label", {}, "Search by name", field));
}

function search(view, text) {
  view.text = text;
  changeQuery({ q: text });
  showList(view);
}

function showList(view) {
  const wanted = view.text.toLowerCase();
  const projects = view.projects.filter(({ project }) => project.toLowerCase().includes(wanted));
  view.table.update(projects);
  const line = statusLine();
  const more = view.next
    ? el("button", { type: "button", id: "more", click: () => perform(more, line, () => loadMore(view)) }, "Show more")
    : null;
  const empty = view.projects.length
    ? `No project's name contains "${plain(view.text)}".`
    : "There are no projects yet. The first upload of a run creates its project.";
  replace(view.list, projects.length ? view.table.root : el("p", { class: "notice" }, empty), more, line);
}

const COLUMNS = [
  {
    title: "Project",
    name: "name",
    isHead: true,
    cell: ({ project }) => el("a", { href: addressOf(["settings", "projects", project]) }, project),
  },
  {
    title: "Runs",
    number: true,
    cell: ({ project, runs }) =>
      el(
        "a",
        { href: addressOf(["runs"], { project }), "aria-label": `${counted(runs, "run")} of ${plain(project)}` },
        count(runs),
      ),
  },
  { title: "Health of its runs", cell: healthCell },
  { title: "Created", cell: ({ created_at: text }) => ago(text) },
];

function healthCell({ health_counts: counts }) {
  const present = HEALTHS.filter((health) => counts[health]);
  if (!present.length) return "–";
  return el(
    "span",
    { class: "choices" },
    present.map((health) => el("span", {}, badge(health), ` ${count(counts[health])}`)),
  );
}
