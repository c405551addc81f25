// The list of runs; where there is none, how to get one.

import { get, path, poll } from "/static/api.js";
import { count, el, moment, replace, runLabel, table, tag } from "/static/dom.js";

const PAGE = 100;
const REFRESH_MS = 5000;

const link = (run) => el("a", { href: `#/runs/${encodeURIComponent(run.run_id)}`, id: `run-${run.run_id}` }, runLabel(run));

const columns = [
  { title: "Run", cell: link },
  { title: "Project", cell: (run) => run.project },
  { title: "Group", cell: (run) => run.group || "–" },
  { title: "State", cell: (run) => tag(run.state) },
  { title: "Last step", number: true, cell: (run) => count(run.last_step) },
  { title: "Open alerts", number: true, cell: (run) => count(run.open_alerts) },
  { title: "Last heard of", cell: (run) => moment(run.updated_at) },
];

function firstSteps() {
  const lines = [
    "import relumine",
    `monitor = relumine.watch(model, optimizer, project="digits", name="baseline", url="${location.origin}")`,
    "...  # the training loop, unchanged",
    "monitor.close()",
  ];
  return el("section", { class: "notice" },
    el("p", {}, "No run has been seen yet. Three lines in a training script start one:"),
    el("pre", {}, lines.join("\n")),
    el("p", { class: "quiet" }, "It appears here with the first upload, seconds after the training began."),
  );
}

export async function showRuns({ root, signal }) {
  document.title = "Runs · Relumine";
  const list = el("div");
  const older = el("div");
  replace(root, el("h1", {}, "Runs"), list, older);
  let shown = "";
  await poll(async () => {
    const page = await get(`${path("runs")}?limit=${PAGE}`, { signal });
    const now = JSON.stringify(page);
    if (now !== shown) {
      shown = now;
      replace(list, page.items.length ? table("Newest first", columns, page.items) : firstSteps());
      replace(older, moreButton(page.next_cursor, signal));
    }
    return REFRESH_MS;
  }, signal);
}

function moreButton(cursor, signal) {
  if (!cursor) return null;
  const button = el("button", { type: "button", id: "older-runs", click: more }, "Show older runs");
  async function more() {
    button.disabled = true;
    try {
      const page = await get(`${path("runs")}?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}`, { signal });
      const next = moreButton(page.next_cursor, signal);
      button.replaceWith(table("Older", columns, page.items), ...(next ? [next] : []));
    } catch (error) {
      button.disabled = false;
      if (!signal.aborted) button.after(el("p", { class: "problem", role: "alert" }, error.message));
    }
  }
  return el("p", { class: "actions" }, button);
}
