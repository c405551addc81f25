// The list of runs; without any, instructions to start the first one.

import { get, path, poll } from "/static/api.js";
import { count, el, moment, replace, runLabel, table, tag } from "/static/dom.js";

const PAGE_SIZE = 100;
const REFRESH_MS = 5000;

const link = (run) => el("a", { href: `#/runs/${encodeURIComponent(run.run_id)}`, id: `run-${run.run_id}` }, runLabel(run));

const COLUMNS = [
  { title: "Health", cell: (run) => el("span", { title: run.health_reason || "" }, tag(run.health)) },
  { title: "Run", cell: link },
  { title: "Project", cell: (run) => run.project },
  { title: "Group", cell: (run) => run.group || "–" },
  { title: "Status", cell: (run) => tag(run.status) },
  { title: "Last step", number: true, cell: (run) => count(run.last_step) },
  { title: "Layers dead", number: true, cell: (run) => (run.layers ? `${count(run.layers_dead)} of ${count(run.layers)}` : "–") },
  { title: "Open alerts", number: true, cell: (run) => count(run.open_alerts) },
  { title: "Last update", cell: (run) => moment(run.updated_at) },
];

function firstSteps() {
  const lines = [
    "import relumine",
    `monitor = relumine.watch(model, optimizer, project="digits", name="baseline", url="${location.origin}")`,
    "...  # the training loop, unchanged",
    "monitor.close()",
  ];
  return el("section", { class: "notice" },
    el("p", {}, "There are no runs yet. Three lines in a training script start one:"),
    el("pre", {}, lines.join("\n")),
    el("p", { class: "quiet" }, "The run appears here with its first upload, seconds after the training has begun."),
  );
}

export async function showRuns({ root, signal }) {
  document.title = "Runs · Relumine";
  const list = el("div");
  const older = el("div");
  replace(root, el("h1", {}, "Runs"), list, older);
  let rendered = "";
  await poll(async () => {
    const page = await get(`${path("runs")}?limit=${PAGE_SIZE}`, { signal });
    const current = JSON.stringify(page);
    if (current !== rendered) {
      rendered = current;
      replace(list, page.items.length ? table("Newest first", COLUMNS, page.items) : firstSteps());
      replace(older, olderRunsButton(page.next_cursor, signal));
    }
    return REFRESH_MS;
  }, signal);
}

function olderRunsButton(cursor, signal) {
  if (!cursor) return null;
  const button = el("button", { type: "button", id: "older-runs", click: loadMore }, "Show older runs");
  async function loadMore() {
    button.disabled = true;
    try {
      const page = await get(`${path("runs")}?limit=${PAGE_SIZE}&cursor=${encodeURIComponent(cursor)}`, { signal });
      const nextButton = olderRunsButton(page.next_cursor, signal);
      button.replaceWith(table("Older", COLUMNS, page.items), ...(nextButton ? [nextButton] : []));
    } catch (error) {
      button.disabled = false;
      if (!signal.aborted) button.after(el("p", { class: "problem", role: "alert" }, error.message));
    }
  }
  return el("p", { class: "actions" }, button);
}
