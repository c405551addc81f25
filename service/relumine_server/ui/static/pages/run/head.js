// The head of a run's page: where it belongs, how it is, and what can be done with it.

import { addressOf } from "../../core/address.js";
import { path, withQuery } from "../../core/api.js";
import { copyButton, el, plain, replace, runLabel, setText } from "../../core/elements.js";
import { ago, count, duration } from "../../core/format.js";
import { pauseControl } from "../../core/pause.js";
import { badge } from "../../core/states.js";

export function runHead(runId, onPicture) {
  const crumbs = el("p", { class: "crumbs" });
  const title = el("h1", {}, "Run");
  const state = el("span", { class: "state" });
  const facts = el("span", { class: "quiet" });
  const updated = el("span", { class: "quiet", id: "updated" });
  const pause = pauseControl(updated);
  const exportLinks = el(
    "details",
    { class: "menu" },
    el("summary", {}, "Export"),
    el(
      "ul",
      {},
      el(
        "li",
        {},
        el("a", { href: withQuery(path("runs", runId, "export"), { format: "csv" }), download: true }, "Records as CSV"),
      ),
      el(
        "li",
        {},
        el("a", { href: withQuery(path("runs", runId, "export"), { format: "jsonl" }), download: true }, "Records as JSON lines"),
      ),
      el("li", {}, el("button", { type: "button", class: "small", click: onPicture }, "Charts as PNG")),
    ),
  );
  const compare = el("a", { href: addressOf(["compare"], { runs: runId }) }, "Compare");
  const copyLink = el(
    "button",
    { type: "button", class: "small", click: () => navigator.clipboard?.writeText(location.href) },
    "Copy link",
  );
  const root = el(
    "div",
    { class: "run-head" },
    el("div", {}, crumbs, title),
    state,
    facts,
    updated,
    pause.root,
    copyButton(runId, "Copy id"),
    copyLink,
    compare,
    exportLinks,
  );
  let rendered = "";

  function render(run) {
    document.title = `${runLabel(run)} · Relumine`;
    const version = JSON.stringify([run.name, run.project, run.group, run.health, run.health_reason, run.status]);
    if (version !== rendered) {
      rendered = version;
      const project = el("a", { href: addressOf(["runs"], { project: run.project }) }, run.project);
      const group = run.group
        ? [" / ", el("a", { href: addressOf(["runs"], { project: run.project, group: run.group }) }, run.group)]
        : "";
      replace(crumbs, project, group);
      title.textContent = runLabel(run);
      state.title = plain(run.health_reason || "");
      replace(
        state,
        badge(run.health),
        " · ",
        badge(run.status),
        run.health_reason ? el("span", { class: "quiet" }, ` · ${run.health_reason}`) : "", // last: it may be cut off
      );
    }
    const lost = run.layers ? `${count(run.layers_dead)} of ${count(run.layers)} layers lost` : "no layers yet";
    setText(facts, `${lost} · step ${count(run.last_step)} · ${duration(run.duration_s)}`);
    replace(updated, "last upload ", ago(run.last_upload_at || run.updated_at));
  }

  return { root, render, pause };
}
