// Saved views: filters, order and grouping of the list under a name. They are kept in this browser; their links work anywhere.

import { addressOf, readAddress } from "../../core/address.js";
import { path } from "../../core/api.js";
import { el, replace } from "../../core/elements.js";

const KEY = `relumine.views ${path()}`; // several servers may be below paths of one host
const MOST_VIEWS = 50;
const MOST_CHARACTERS = 80;

// Returns the menu of the saved views. The address is what is saved.
export function savedViews() {
  const summary = el("summary", {});
  const list = el("ul", { "aria-label": "Saved views" });
  const problem = el("p", { class: "problem", role: "alert" });
  const name = el("input", {
    name: "view",
    required: true,
    maxlength: MOST_CHARACTERS,
    "aria-label": "Name of the view",
    placeholder: "name",
    autocomplete: "off",
  });
  const form = el("form", { class: "actions", submit: save }, name, el("button", { type: "submit" }, "Save this view"));
  const root = el("details", { class: "views", keydown: onKey }, summary, el("div", {}, list, form, problem));

  function save(event) {
    event.preventDefault();
    const title = name.value.trim();
    const others = read().filter((view) => view.name !== title);
    if (!title) return;
    if (others.length >= MOST_VIEWS) {
      problem.textContent = `There are ${MOST_VIEWS} views already: delete one first.`;
      return;
    }
    if (keep([...others, { name: title, query: currentQuery() }])) name.value = "";
  }

  function keep(views) {
    try {
      localStorage.setItem(KEY, JSON.stringify(views));
      problem.textContent = "";
    } catch {
      problem.textContent = "This browser keeps no data of this page. The address holds the same view.";
      return false;
    }
    show();
    return true;
  }

  function show() {
    const views = read().sort((a, b) => a.name.localeCompare(b.name));
    summary.textContent = views.length ? `Saved views (${views.length})` : "Saved views";
    replace(list, views.length ? views.map(item) : el("li", { class: "quiet" }, "None yet: set filters, then save them here."));
  }

  function item(view) {
    const isShown = view.query === currentQuery();
    const drop = () => {
      keep(read().filter((other) => other.name !== view.name));
      name.focus();
    };
    return el(
      "li",
      {},
      el("a", { href: `#/runs?${view.query}`, "aria-current": isShown ? "true" : null }, view.name),
      el("button", { type: "button", class: "small", "aria-label": `Delete the view ${view.name}`, click: drop }, "×"),
    );
  }

  function onKey(event) {
    if (event.key !== "Escape" || !root.open) return;
    root.open = false;
    summary.focus();
  }

  root.addEventListener("toggle", () => root.open && show());
  show();
  return root;
}

// Returns what is stored; what is no view is left out, as another version or a person may have written it.
function read() {
  try {
    const views = JSON.parse(localStorage.getItem(KEY) || "[]");
    return views.filter(({ name, query }) => typeof name === "string" && name && typeof query === "string").slice(0, MOST_VIEWS);
  } catch {
    return [];
  }
}

function currentQuery() {
  const { query } = readAddress();
  return addressOf(["runs"], Object.fromEntries(query)).replace(/^#\/runs\??/, "");
}
