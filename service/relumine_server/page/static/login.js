// The way in where the server asks for keys: a form that takes one, and the button that leaves again.

import { get, path, post, remove } from "/static/api.js";
import { el, replace } from "/static/dom.js";

const REASONS = {
  key_expired: "This key has expired.",
  key_revoked: "This key was revoked.",
  key_unknown: "This server knows no such key.",
  scope_too_small: "The page needs a read or an admin key.",
};

export function showLogin(root, done) {
  document.title = "Log in · Relumine";
  const key = el("input", { name: "key", type: "password", id: "key", required: true, maxlength: 200, autocomplete: "current-password", spellcheck: "false" });
  const button = el("button", { type: "submit" }, "Log in");
  const problem = el("p", { class: "problem", role: "alert" });
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await post(path("login"), { key: key.value });
      done();
    } catch (error) {
      button.disabled = false;
      key.value = "";
      problem.textContent = REASONS[error.code] || error.message;
      key.focus();
    }
  }
  replace(root,
    el("h1", {}, "Log in"),
    el("p", {}, "This server asks for a key. A read key shows everything; an admin key may also acknowledge and change."),
    el("form", { submit }, el("div", { class: "actions" }, el("label", {}, "Key", key), button), problem),
    el("p", { class: "quiet" }, "Whoever runs the server makes one: relumine-server keys create --scope read"),
  );
  key.focus();
}

// Says beside the navigation which key the page goes by, with the button to leave.
export async function showAccount(node, left) {
  let who = { needed: false, scope: null };
  try {
    who = await get(path("login"));
  } catch {
    // the page itself will say what is wrong
  }
  if (!who.needed || !who.scope) {
    node.replaceChildren();
    return;
  }
  const button = el("button", { type: "button", id: "log-out", click: leave }, "Log out");
  async function leave() {
    button.disabled = true;
    await remove(path("login")).catch(() => {}); // then the page goes on, and says why
    left();
  }
  const where = who.project ? ` of ${who.project}` : "";
  node.replaceChildren(el("span", { class: "quiet" }, `${who.scope} key${where}`), button);
}
