// A stack of lanes over one axis of steps, with one cursor: drag to zoom, double-click for everything.
//
// A lane is {title, height, draw(context, view), hover(step, y, view), marks, rows}. `title` is text or nodes beside the lane,
// or a function that returns them, which is called when `titleVersion` has changed; `marks` are nodes placed at steps: [{step, node}].

import { makeCanvas, prepare } from "./canvas.js";
import { ticks } from "./scale.js";
import { count } from "../core/format.js";
import { el, plain, replace, setText } from "../core/elements.js";
import { themeColours } from "../core/states.js";

const AXIS_HEIGHT = 22;
const LEAST_DRAG_PX = 5;
const ZOOM_FACTOR = 2;
const GUTTER_PX = { wide: 190, narrow: 92 };
const RIGHT_PX = 10;

export class Timeline {
  // onZoom({from, to}) is called when the user zooms; null for both shows everything.
  constructor({ label, onZoom = () => {}, signal, gutter = null }) {
    this.fixedGutter = gutter;
    this.domain = [0, 1];
    this.zoom = null;
    this.lanes = [];
    this.onZoom = onZoom;
    this.tooltip = el("div", { class: "tooltip", hidden: true });
    this.body = el("div", { class: "lanes" });
    this.reset = el("button", { type: "button", class: "small", hidden: true, click: () => this.zoomTo(null) }, "Show all steps");
    this.root = el(
      "div",
      { class: "chart timeline", tabindex: "0", role: "group", "aria-label": label, keydown: (event) => this.onKey(event) },
      this.body,
      this.tooltip,
    );
    this.observer = new ResizeObserver(() => {
      this.width = this.root.clientWidth; // to read it while the page changes would make the browser lay it out at once
      this.requestDraw();
    });
    this.observer.observe(this.root);
    signal.addEventListener("abort", () => this.observer.disconnect());
    window.addEventListener("themechange", () => this.requestDraw(), { signal });
    this.addPointer();
  }

  // Shows other lanes; those of the same key keep their canvas.
  setLanes(lanes) {
    const existing = new Map(this.lanes.map((lane) => [lane.key, lane]));
    this.lanes = lanes.map((lane) => ({ ...lane, parts: existing.get(lane.key)?.parts || this.makeParts(lane) }));
    for (const lane of this.lanes) this.updateTitle(lane);
    const nodes = this.lanes.map(({ parts }) => parts.root);
    this.axis ||= this.makeParts({ key: "axis" });
    nodes.push(this.axis.root);
    if (nodes.length !== this.body.children.length || nodes.some((node, index) => node !== this.body.children[index])) {
      this.body.replaceChildren(...nodes);
    }
    this.requestDraw();
  }

  setDomain(from, to) {
    this.domain = [from, Math.max(to, from + 1)];
    this.requestDraw();
  }

  zoomTo(range) {
    this.zoom = range;
    this.reset.hidden = range === null;
    this.onZoom(range === null ? { from: null, to: null } : { from: Math.round(range[0]), to: Math.round(range[1]) });
    this.requestDraw();
  }

  // Draws once before the next frame, however often it is called.
  requestDraw() {
    if (this.isRequested) return;
    this.isRequested = true;
    requestAnimationFrame(() => {
      this.isRequested = false;
      this.draw();
    });
  }

  view() {
    const [from, to] = this.zoom || this.domain;
    this.width ||= this.root.clientWidth;
    const gutter = this.fixedGutter ?? (this.width < 640 ? GUTTER_PX.narrow : GUTTER_PX.wide);
    const width = Math.max(50, this.width - gutter - RIGHT_PX);
    const toX = (step) => ((step - from) / (to - from)) * width;
    return { from, to, width, gutter, toX, toStep: (x) => from + (x / width) * (to - from) };
  }

  draw() {
    this.width ||= this.root.clientWidth;
    if (!this.axis || !this.root.isConnected || !this.width) return;
    performance.clearMarks();
    performance.clearMeasures(); // or they would fill the memory of a page that is open for days
    performance.mark("timeline-begin");
    const view = this.view();
    if (view.gutter !== this.gutter) this.root.style.setProperty("--gutter", `${view.gutter}px`);
    this.gutter = view.gutter;
    for (const lane of this.lanes) {
      lane.parts.plot.style.height = `${lane.height}px`;
      const context = prepare(lane.parts.canvas, view.width, lane.height);
      lane.draw?.(context, view);
      this.placeMarks(lane, view);
    }
    this.drawAxis(view);
    performance.mark("timeline-drawn"); // for benchmarks/dashboard and the tests
    performance.measure("draw", "timeline-begin", "timeline-drawn");
  }

  makeParts() {
    const title = el("div", { class: "lane-title" });
    const cursor = el("div", { class: "cursor", hidden: true });
    const selection = el("div", { class: "selection", hidden: true });
    const plot = el("div", { class: "lane-plot" });
    const canvas = makeCanvas(plot);
    const marks = el("div");
    plot.append(selection, cursor, marks);
    return { root: el("div", { class: "lane" }, title, plot), title, plot, canvas, cursor, selection, marks };
  }

  updateTitle(lane) {
    const { parts } = lane;
    if (parts.titleVersion === lane.titleVersion && parts.titleVersion !== undefined) return;
    parts.titleVersion = lane.titleVersion ?? null;
    parts.title.classList.toggle("rows", Boolean(lane.rows));
    replace(parts.title, typeof lane.title === "function" ? lane.title() : lane.title);
  }

  placeMarks(lane, view) {
    const { marks } = lane.parts;
    const visible = (lane.marks || []).filter(({ step }) => step >= view.from && step <= view.to);
    for (const { step, node } of visible) node.style.left = `${view.toX(step)}px`;
    const nodes = visible.map(({ node }) => node);
    if (nodes.length === marks.children.length && nodes.every((node, index) => node === marks.children[index])) return;
    replace(marks, nodes);
  }

  drawAxis(view) {
    const parts = this.axis;
    const { quiet } = themeColours("quiet");
    const context = prepare(parts.canvas, view.width, AXIS_HEIGHT);
    context.fillStyle = quiet;
    context.strokeStyle = quiet;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    for (const step of ticks(view.from, view.to, view.width / 90).filter(Number.isInteger)) {
      const x = view.toX(step);
      const text = count(step);
      const half = context.measureText(text).width / 2;
      context.fillRect(Math.round(x), 0, 1, 4);
      context.fillText(text, Math.min(view.width - 2 * half, Math.max(0, x - half)), 6);
    }
    setText(parts.title, this.fixedGutter === null ? "step" : "");
    parts.plot.style.height = `${AXIS_HEIGHT}px`;
  }

  addPointer() {
    let start = null;
    const laneAt = (event) => this.lanes.find(({ parts }) => parts.plot.contains(event.target));
    const xOf = (event) => {
      const box = this.axis.plot.getBoundingClientRect();
      return Math.max(0, Math.min(this.view().width, event.clientX - box.left));
    };
    this.body.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !laneAt(event) || event.target.closest("a, button")) return;
      start = xOf(event);
    });
    this.body.addEventListener("pointermove", (event) => {
      const x = xOf(event);
      this.showCursor(laneAt(event), x, event);
      if (start !== null) this.showSelection(start, x);
    });
    this.body.addEventListener("pointerleave", () => {
      start = null;
      this.hideCursor();
      this.showSelection(0, 0);
    });
    this.body.addEventListener("pointerup", (event) => {
      const lane = laneAt(event);
      const x = xOf(event);
      const began = start;
      start = null;
      this.showSelection(0, 0);
      if (began === null) return;
      const view = this.view();
      if (Math.abs(x - began) >= LEAST_DRAG_PX) this.zoomTo([view.toStep(Math.min(began, x)), view.toStep(Math.max(began, x))]);
      else lane?.click?.(view.toStep(x), yIn(lane, event));
    });
    this.body.addEventListener("dblclick", () => this.zoomTo(null));
  }

  showCursor(lane, x, event) {
    for (const { parts } of this.lanes) {
      parts.cursor.hidden = false;
      parts.cursor.style.left = `${x}px`;
    }
    const view = this.view();
    const text = lane?.hover?.(Math.round(view.toStep(x)), yIn(lane, event), view) || "";
    this.tooltip.hidden = !text;
    if (!text) return;
    this.tooltip.textContent = plain(text);
    const box = this.root.getBoundingClientRect();
    const isRight = event.clientX - box.left > box.width / 2;
    this.tooltip.style.top = `${event.clientY - box.top + 14}px`;
    this.tooltip.style.left = isRight ? "" : `${event.clientX - box.left + 14}px`;
    this.tooltip.style.right = isRight ? `${box.right - event.clientX + 14}px` : "";
  }

  hideCursor() {
    this.tooltip.hidden = true;
    for (const { parts } of this.lanes) parts.cursor.hidden = true;
  }

  showSelection(from, to) {
    for (const { parts } of this.lanes) {
      parts.selection.hidden = from === to;
      parts.selection.style.left = `${Math.min(from, to)}px`;
      parts.selection.style.width = `${Math.abs(to - from)}px`;
    }
  }

  onKey(event) {
    if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    const [from, to] = this.zoom || this.domain;
    const [middle, half] = [(from + to) / 2, (to - from) / 2];
    const ranges = {
      "+": () => [middle - half / ZOOM_FACTOR, middle + half / ZOOM_FACTOR],
      "-": () => this.within(middle - half * ZOOM_FACTOR, middle + half * ZOOM_FACTOR),
      ArrowLeft: () => this.within(from - half / 2, to - half / 2),
      ArrowRight: () => this.within(from + half / 2, to + half / 2),
      0: () => null,
    };
    if (!Object.hasOwn(ranges, event.key)) return;
    event.preventDefault();
    this.zoomTo(ranges[event.key]());
  }

  // Returns the range moved into the domain; null where it would hold all of it.
  within(from, to) {
    const [first, last] = this.domain;
    if (to - from >= last - first) return null;
    if (from < first) return [first, first + to - from];
    return to > last ? [last - (to - from), last] : [from, to];
  }

  // Returns a picture of all lanes, as a canvas.
  picture() {
    const { width, gutter } = this.view();
    const parts = [...this.lanes.map((lane) => [lane.parts, lane.height]), [this.axis, AXIS_HEIGHT]];
    const total = parts.reduce((sum, [, height]) => sum + height + 1, 0);
    const ratio = window.devicePixelRatio || 1;
    const canvas = el("canvas", { width: (width + gutter + RIGHT_PX) * ratio, height: total * ratio });
    const context = canvas.getContext("2d");
    const { surface, text } = themeColours("surface", "text");
    context.scale(ratio, ratio);
    context.fillStyle = surface;
    context.fillRect(0, 0, width + gutter + RIGHT_PX, total);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    let top = 0;
    for (const [{ canvas: drawn, title }, height] of parts) {
      context.drawImage(drawn, gutter, top, width, height);
      context.fillStyle = text;
      const rows = [...title.querySelectorAll(".row")].map((row) => row.textContent);
      const lines = rows.length ? rows : [title.textContent];
      lines.forEach((line, index) => context.fillText(line, 8, top + 2 + (index * height) / lines.length, gutter - 12));
      top += height + 1;
    }
    return canvas;
  }
}

function yIn(lane, event) {
  return event.clientY - lane.parts.plot.getBoundingClientRect().top;
}
