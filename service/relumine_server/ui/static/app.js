// The router of the dashboard. It routes by the hash of the URL:
// #/runs, #/runs/<id>, #/runs/<id>/layers/<layer_id>, #/alerts, #/alerts/<id>, #/compare?runs=<id>,<id>, #/settings/<part>.
// A page is loaded when it is first shown.

import { readAddress } from "./core/address.js";
import { ApiError, get, path } from "./core/api.js";
import { el, replace } from "./core/elements.js";
import { showAccount, showLogin } from "./core/login.js";
import { toggleHelp } from "./core/help.js";
import { startAgo } from "./core/format.js";
import { refreshOpenAlerts, startOpenAlerts } from "./core/open_alerts.js";
import { preload } from "./core/page_modules.js";
import { isPassing, poll } from "./core/poll.js";
import { refreshProjects, startProjects } from "./core/projects.js";

const main = document.getElementById("main");
const account = document.getElementById("account");
let currentPage = new AbortController(); // aborted when the user leaves the page

function load(name) {
  preload(name);
  return import(`./pages/${name}.js`);
}

const PAGES = {
  runs: async (page, [id, subsection, layerId], query) => {
    if (subsection === "layers") return (await load("layer")).showLayer(page, id, Number(layerId), query);
    if (id) return (await load("run")).showRun(page, id, query);
    return (await load("runs")).showRuns(page, query);
  },
  alerts: async (page, [id], query) => {
    if (id) return (await load("alert")).showAlert(page, id);
    return (await load("alerts")).showAlerts(page, query);
  },
  compare: async (page, _, query) => (await load("compare")).showCompare(page, query),
  // The addresses of earlier versions, which messages and bookmarks contain.
  settings: async (page, parts, query) => (await load("settings")).showSettings(page, parts, query),
};

function showNotFound({ root }) {
  replace(root, el("h1", {}, "Page not found"), el("p", {}, el("a", { href: "#/runs" }, "All runs")));
}

async function navigate({ first = false } = {}) {
  currentPage.abort();
  currentPage = new AbortController();
  const { signal } = currentPage;
  const {
    parts: [section = "runs", ...parts],
    query,
  } = readAddress();
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = "Relumine";
  const root = el("div");
  main.replaceChildren(root);
  if (!first) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  const show = Object.hasOwn(PAGES, section) ? PAGES[section] : showNotFound;
  try {
    await show({ root, signal }, parts, query);
  } catch (error) {
    if (signal.aborted) return;
    if (await isServerAway(error)) reloadWhenBack(root, signal);
    else showError(root, error);
  }
}

// A module that did not arrive is a TypeError, as is an error of the page: the server tells which of them it was.
async function isServerAway(error) {
  if (error instanceof ApiError) return error.status === 0;
  if (!(error instanceof TypeError)) return false;
  return get(path("session")).then(
    () => false,
    (problem) => isPassing(problem),
  );
}

// A browser does not request a module again that has failed, so the whole page is loaded again.
function reloadWhenBack(root, signal) {
  replace(root, el("p", { class: "notice" }, "This page will load as soon as the server responds."));
  poll(async () => {
    await get(path("session"), { signal });
    location.reload();
    return 0;
  }, signal);
}

// Reloads the account and the page after a login or a logout.
function reload() {
  showAccount(account, reload);
  refreshOpenAlerts();
  refreshProjects();
  navigate();
}

function showError(root, error) {
  const isApiError = error instanceof ApiError;
  if (isApiError && error.status === 401) {
    account.replaceChildren();
    showLogin(root, reload);
    return;
  }
  if (!isApiError) console.error(error);
  replace(
    root,
    el("h1", {}, isApiError && error.status === 404 ? "Not found" : "This page could not be loaded"),
    el(
      "p",
      { class: "notice", role: "alert" },
      isApiError ? error.message : "The page has an error; the browser's console has the details.",
    ),
    el("p", {}, el("a", { href: "#/runs" }, "All runs")),
  );
}

// "/" begins a search, "?" opens the help, as on other sites; not while something is typed.
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (["INPUT", "TEXTAREA", "SELECT"].includes(document.activeElement?.tagName)) return;
  if (event.key === "?") toggleHelp();
  const search = event.key === "/" && document.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash belongs to the router
  main.focus();
});
document.getElementById("help-button").addEventListener("click", () => toggleHelp());
window.addEventListener("hashchange", () => navigate());
window.addEventListener("keydown", onKey);
showAccount(account, reload);
navigate({ first: true });
startOpenAlerts();
startProjects();
startAgo();
