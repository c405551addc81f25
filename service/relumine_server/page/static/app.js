// Routes by the hash: #/runs, #/runs/<id>, #/runs/<id>/layers/<layer_id>, #/alerts, #/alerts/<id>, #/webhooks, #/webhooks/<id>.

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
let leaving = new AbortController();

function route([section = "runs", id, below, layerId]) {
  if (section === "runs" && id) return { section, show: (to) => showRun(to, id, below === "layers" ? Number(layerId) : null) };
  if (section === "runs") return { section, show: showRuns };
  if (section === "alerts" && id) return { section, show: (to) => showAlert(to, id) };
  if (section === "alerts") return { section, show: showAlerts };
  if (section === "webhooks" && id) return { section, show: (to) => showWebhook(to, id) };
  if (section === "webhooks") return { section, show: showWebhooks };
  return { section: "", show: nothing };
}

function nothing({ root }) {
  replace(root, el("h1", {}, "There is no such page"), el("p", {}, el("a", { href: "#/runs" }, "All runs")));
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function navigate({ first = false } = {}) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const parts = location.hash.replace(/^#\/?/, "").replace(/\?.*$/, "").split("/").filter(Boolean).map(decoded);
  const { section, show } = route(parts);
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
    if (!signal.aborted) showFailure(root, error);
  }
}

function enter() {
  showAccount(account, enter);
  navigate();
}

function showFailure(root, error) {
  const known = error instanceof ApiError;
  if (known && error.status === 401) {
    account.replaceChildren();
    showLogin(root, enter);
    return;
  }
  if (!known) console.error(error);
  replace(root,
    el("h1", {}, known && error.status === 404 ? "Not found" : "This could not be shown"),
    el("p", { class: "notice", role: "alert" }, known ? error.message : "Something in the page failed; the console says what."),
    el("p", {}, el("a", { href: "#/runs" }, "All runs")),
  );
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash belongs to the routes
  main.focus();
});
window.addEventListener("hashchange", () => navigate());
showAccount(account, enter);
navigate({ first: true });
