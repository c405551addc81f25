// The router of the dashboard. It routes by the hash of the URL:
// #/runs, #/runs/<id>, #/runs/<id>?alert=<alert_id>, #/runs/<id>/layers/<layer_id>, #/alerts, #/alerts/<id>, #/webhooks, #/webhooks/<id>.

import { ApiError } from "/static/api.js";
import { showAlert, showAlerts } from "/static/alerts.js";
import { el, replace } from "/static/dom.js";
import { showAccount, showLogin } from "/static/login.js";
import { showRun } from "/static/run.js";
import { showRuns } from "/static/runs.js";
import { showWebhook } from "/static/webhook.js";
import { showWebhooks } from "/static/webhooks.js";

const main = document.getElementById("main");
const account = document.getElementById("account");
let currentPage = new AbortController(); // aborted when the user leaves the page

function route([section = "runs", id, subsection, layerId], query) {
  if (section === "runs" && id) {
    const selected = { layerId: subsection === "layers" ? Number(layerId) : null, alertId: query.get("alert") };
    return { section, show: (page) => showRun(page, id, selected) };
  }
  if (section === "runs") return { section, show: showRuns };
  if (section === "alerts" && id) return { section, show: (page) => showAlert(page, id) };
  if (section === "alerts") return { section, show: showAlerts };
  if (section === "webhooks" && id) return { section, show: (page) => showWebhook(page, id) };
  if (section === "webhooks") return { section, show: showWebhooks };
  return { section: "", show: showNotFound };
}

function showNotFound({ root }) {
  replace(root, el("h1", {}, "Page not found"), el("p", {}, el("a", { href: "#/runs" }, "All runs")));
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function navigate({ first = false } = {}) {
  currentPage.abort();
  currentPage = new AbortController();
  const { signal } = currentPage;
  const [pathInHash, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = pathInHash.split("/").filter(Boolean).map(decode);
  const { section, show } = route(parts, new URLSearchParams(query));
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = "Relumine";
  const root = el("div");
  main.replaceChildren(root);
  if (!first) main.focus({ preventScroll: true });
  try {
    await show({ root, signal });
  } catch (error) {
    if (!signal.aborted) showError(root, error);
  }
}

// Reloads the account and the page after a login or a logout.
function reload() {
  showAccount(account, reload);
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
  replace(root,
    el("h1", {}, isApiError && error.status === 404 ? "Not found" : "This page could not be loaded"),
    el("p", { class: "notice", role: "alert" }, isApiError ? error.message : "The page has an error; the browser's console has the details."),
    el("p", {}, el("a", { href: "#/runs" }, "All runs")),
  );
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash belongs to the router
  main.focus();
});
window.addEventListener("hashchange", () => navigate());
showAccount(account, reload);
navigate({ first: true });
