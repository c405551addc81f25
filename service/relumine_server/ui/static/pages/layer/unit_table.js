// The units of a layer as a table: ordered and filtered by the server, a page at a time.

import { changeQuery, readAddress } from "../../core/address.js";
import { get, path, withQuery } from "../../core/api.js";
import { el, replace } from "../../core/elements.js";
import { count, number, share } from "../../core/format.js";
import { badge, words } from "../../core/states.js";

const PAGE_SIZE = 100;
const COLUMNS = [
  { title: "Unit", sort: "unit", cell: unitButton },
  { title: "State", sort: "state", isText: true, cell: (unit) => badge(unit.state) },
  { title: "Active", sort: "active_rate", cell: (unit) => share(unit.active_rate) },
  { title: "Last active at step", sort: "last_active_step", cell: (unit) => count(unit.last_active_step) },
  { title: "Peak pre-activation", sort: "peak", cell: (unit) => number(unit.peak) },
  { title: "Bias", sort: "bias", cell: (unit) => number(unit.bias) },
  { title: "Mean pre-activation", sort: "mean", cell: (unit) => number(unit.mean) },
];

function unitButton({ unit }, onChoose) {
  const text = count(unit);
  return el("button", { type: "button", class: "link", "aria-label": `Unit ${text}`, click: () => onChoose(unit) }, text);
}

// onChoose is called with a unit whose number was clicked, onShifts with the shifts of the units in each state.
export function unitTable(address, signal, { onChoose, onShifts }) {
  const counts = el("div", { class: "actions", role: "group", "aria-label": "States of the units" });
  const head = el("thead");
  const body = el("tbody");
  const caption = el("caption");
  const problem = el("p", { class: "problem", role: "alert" });
  const previous = el(
    "button",
    { type: "button", click: () => change({ first: Math.max(0, view().first - PAGE_SIZE) || null }) },
    "Previous",
  );
  const next = el("button", { type: "button", click: () => change({ first: view().first + PAGE_SIZE }) }, "Next");
  const csv = el("a", { href: withQuery(path(...address, "unit-table"), { format: "csv" }), download: true }, "All units as CSV");
  const root = el(
    "section",
    {},
    el("h2", {}, "Units"),
    counts,
    problem,
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Units" }, el("table", {}, caption, head, body)),
    el("div", { class: "actions" }, previous, next, csv),
  );

  function view() {
    const { query } = readAddress();
    return { sort: query.get("sort") || "state", state: query.get("state"), first: Number(query.get("first")) || 0 };
  }

  async function change(changes) {
    changeQuery(changes);
    await load().catch((error) => {
      problem.textContent = error.message;
    });
  }

  async function load() {
    const { sort, state, first } = view();
    const page = await get(withQuery(path(...address, "unit-table"), { sort, state, first, count: PAGE_SIZE }), { signal });
    problem.textContent = "";
    onShifts(page.shifts);
    replace(
      head,
      el(
        "tr",
        {},
        COLUMNS.map((column) => headCell(column, sort)),
      ),
    );
    replace(
      body,
      page.items.map((unit) =>
        el(
          "tr",
          {},
          COLUMNS.map((column) => el("td", { class: column.isText ? "text" : "number" }, column.cell(unit, onChoose))),
        ),
      ),
    );
    const total = page.matched;
    caption.textContent =
      page.step === null
        ? "No per-unit statistics are stored yet."
        : total
          ? `Units ${count(first + 1)} to ${count(first + page.items.length)} of ${count(total)}`
          : "No unit is in this state.";
    previous.disabled = first === 0;
    next.disabled = first + page.items.length >= total;
    replace(
      counts,
      Object.entries(page.state_counts)
        .filter(([, value]) => value)
        .map(([name, value]) => stateButton(name, value, state)),
    );
  }

  function stateButton(name, value, selected) {
    const isPressed = name === selected;
    return el(
      "button",
      {
        type: "button",
        id: `units-${name}`,
        "aria-pressed": String(isPressed),
        "aria-label": `${words(name)}: ${count(value)} units`,
        click: () => change({ state: isPressed ? null : name, first: null }),
      },
      badge(name),
      ` ${count(value)}`,
    );
  }

  function headCell({ title, sort, isText }, current) {
    const isSorted = current.replace("-", "") === sort;
    const following = isSorted && !current.startsWith("-") ? `-${sort}` : sort;
    const arrow = isSorted ? (current.startsWith("-") ? " ↓" : " ↑") : "";
    return el(
      "th",
      {
        scope: "col",
        class: isText ? "text" : "number",
        "aria-sort": isSorted ? (arrow === " ↓" ? "descending" : "ascending") : null,
      },
      el("button", { type: "button", id: `sort-${sort}`, click: () => change({ sort: following, first: null }) }, title, arrow),
    );
  }

  return { root, load };
}
