// Login and logout on servers that require a key.

import { el, replace } from "./elements.js";
import { logIn, logOut, readSession } from "./session.js";

const REASONS = {
  key_expired: "This key has expired.",
  key_revoked: "This key was revoked.",
  key_unknown: "This key does not exist on this server.",
  insufficient_scope: "The dashboard needs a read, a write or an admin key.",
};

export function showLogin(root, onLogin) {
  document.title = "Log in · Relumine";
  const key = el("input", {
    name: "key",
    type: "password",
    id: "key",
    required: true,
    maxlength: 200,
    autocomplete: "current-password",
    spellcheck: "false",
  });
  const button = el("button", { type: "submit" }, "Log in");
  const problem = el("p", { class: "problem", role: "alert" });
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await logIn(key.value);
      onLogin();
    } catch (error) {
      button.disabled = false;
      key.value = "";
      problem.textContent = REASONS[error.code] || error.message;
      key.focus();
    }
  }
  replace(
    root,
    el("h1", {}, "Log in"),
    el(
      "p",
      {},
      "This server requires an API key. A read key can view everything except webhooks; an admin key can also change things.",
    ),
    el("form", { submit }, el("div", { class: "actions" }, el("label", {}, "Key", key), button), problem),
    el("p", { class: "quiet" }, "Create a key on the server: relumine-server keys create --scope read"),
  );
  key.focus();
}

// Returns what the current key may do: {canWrite, canManage}. A server without keys allows everything.
export async function permissions() {
  const session = await readSession();
  const isOpen = !session.needed;
  return {
    canWrite: isOpen || ["write", "admin"].includes(session.scope),
    canManage: isOpen || session.scope === "admin",
  };
}

// Shows the scope and project of the current key beside the navigation, with a button to log out.
export async function showAccount(node, onLogout) {
  let session = { needed: false, scope: null };
  try {
    session = await readSession();
  } catch {
    // the page reports the error
  }
  if (!session.needed || !session.scope) {
    node.replaceChildren();
    return;
  }
  const button = el("button", { type: "button", id: "log-out", click: leave }, "Log out");
  async function leave() {
    button.disabled = true;
    await logOut().catch(() => {}); // the next request reports the error
    onLogout();
  }
  const project = session.project ? ` of ${session.project}` : "";
  node.replaceChildren(el("span", { class: "quiet" }, `${session.scope} key${project}`), button);
}
