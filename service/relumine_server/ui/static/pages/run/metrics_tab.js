// Everything that the training logged, a small chart for each name.

import { Timeline } from "../../charts/timeline.js";
import { get, path, withQuery } from "../../core/api.js";
import { el, replace } from "../../core/elements.js";
import { count } from "../../core/format.js";
import { lineLane } from "./lanes.js";

const MOST_PAGES = 20; // of one refresh; the rest comes with the next

export function metricsTab(runId, signal) {
  const panels = el("div", { class: "panels" });
  const empty = el(
    "p",
    { class: "notice", hidden: true },
    "This run has logged no metrics: call monitor.log(accuracy=0.9) in the training loop.",
  );
  const problem = el("p", { class: "problem", role: "alert" });
  const root = el("div", {}, problem, empty, panels);
  const metrics = new Map(); // by name: {step, value, timeline}
  let cursor = null;
  let isLoading = false;

  async function render() {
    if (isLoading) return;
    isLoading = true;
    try {
      await load();
      problem.textContent = "";
    } catch (error) {
      if (!signal.aborted) problem.textContent = error.message;
    }
    isLoading = false;
    empty.hidden = metrics.size > 0;
  }

  async function load() {
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const after = Math.max(-1, ...[...metrics.values()].map(({ step }) => step.at(-1) ?? -1));
      const query = cursor ? { cursor } : { after_step: after < 0 ? null : after };
      const answer = await get(withQuery(path("runs", runId, "metrics"), query), { signal });
      for (const [name, points] of Object.entries(answer.metrics)) add(name, points);
      cursor = answer.next_cursor;
      if (!cursor) break;
    }
    show();
  }

  function add(name, points) {
    const metric = metrics.get(name) || { step: [], value: [] };
    metrics.set(name, metric);
    for (const { step, value } of points) {
      if (step <= (metric.step.at(-1) ?? -1)) continue;
      metric.step.push(step);
      metric.value.push(value);
      metric.isNew = true;
    }
  }

  function show() {
    for (const [name, metric] of metrics) {
      if (!metric.isNew) continue;
      metric.isNew = false;
      metric.timeline ||= panel(name);
      metric.timeline.setDomain(metric.step[0], metric.step.at(-1));
      metric.timeline.setLanes([
        {
          ...lineLane(name, name, metric.step, metric.value, "accent", { height: 150, isLogarithmic: false }),
          title: "",
          titleVersion: count(metric.step.length),
        },
      ]);
    }
    const wanted = [...metrics.keys()].sort().map((name) => metrics.get(name).timeline.root.parentElement);
    if (wanted.length !== panels.children.length) replace(panels, wanted);
  }

  function panel(name) {
    const timeline = new Timeline({ label: `Metric ${name}`, signal, gutter: 8 });
    el("section", { class: "chart panel" }, el("h2", {}, name), timeline.root);
    return timeline;
  }
  return { root, render };
}
