// The keys of the API: what the present one may do, the list, and the form that creates one.

import { get, path, post, remove, withQuery } from "../../core/api.js";
import { changeQuery } from "../../core/address.js";
import { el, replace } from "../../core/elements.js";
import { ago, moment } from "../../core/format.js";
import { showAccount } from "../../core/login.js";
import { logIn } from "../../core/session.js";
import { badge } from "../../core/states.js";
import { projectNames } from "./access.js";
import { confirmButton, perform, secretNotice, statusLine } from "./actions.js";
import { keyForm } from "./key_form.js";
import { SCOPES } from "./key_words.js";
import { liveTable } from "./live_table.js";

const PAGE_SIZE = 200;

export async function showKeys({ root, signal, access }, query) {
  const view = { signal, access, showEnded: query.get("all") === "1", keys: [], next: null };
  for (const name of ["head", "current", "news", "list"]) view[name] = el("div");
  replace(root, view.head, view.current, view.news, view.list);
  replace(view.current, currentKey(access));
  if (!access.canManage) {
    replace(view.head, el("h1", {}, "Keys"));
    replace(view.list, el("p", { class: "quiet" }, "To list, create and revoke keys takes an admin key."));
    return;
  }
  view.opener = el("button", { type: "button", class: "primary", id: "new-key", click: () => openForm(view) }, "Create a key");
  replace(view.head, el("div", { class: "head" }, el("h1", {}, "Keys"), view.opener));
  await reload(view);
}

function currentKey(access) {
  if (access.isOpen) {
    return el(
      "section",
      { class: "notice" },
      el(
        "p",
        {},
        "This server requires no key: everyone who can reach it may do everything. Create an admin key to change that.",
      ),
    );
  }
  const reach = access.project ? `in the project ${access.project}` : "in all projects";
  return el(
    "section",
    { class: "notice", "aria-label": "This key" },
    el("p", {}, `You are logged in with ${access.keyId}, a key of scope ${access.scope}, ${reach}.`),
    el("p", { class: "quiet" }, SCOPES[access.scope]),
  );
}

async function reload(view) {
  const page = await get(withQuery(path("keys"), { limit: PAGE_SIZE }), { signal: view.signal });
  Object.assign(view, { keys: page.items, next: page.next_cursor });
  showList(view);
}

async function loadMore(view) {
  const page = await get(withQuery(path("keys"), { limit: PAGE_SIZE, cursor: view.next }), { signal: view.signal });
  Object.assign(view, { keys: [...view.keys, ...page.items], next: page.next_cursor });
  showList(view);
}

function showList(view) {
  const ended = view.keys.filter((key) => stateOf(key) !== "active");
  const keys = view.showEnded ? view.keys : view.keys.filter((key) => !ended.includes(key));
  if (!view.keys.length) {
    replace(view.list, el("p", { class: "quiet" }, "There are no keys yet. The first one must be an admin key of all projects."));
    return;
  }
  view.table ||= liveTable("Keys, in the order of their creation", columns(view), (key) => key.key_id);
  view.table.update(keys);
  const all = el("input", {
    type: "checkbox",
    id: "show-ended",
    checked: view.showEnded,
    change: () => toggleEnded(view, all.checked),
  });
  const toggle = ended.length ? el("label", { class: "inline" }, all, `Show revoked and expired keys (${ended.length})`) : null;
  const line = statusLine();
  const more = view.next
    ? el("button", { type: "button", id: "more", click: () => perform(more, line, () => loadMore(view)) }, "Show more")
    : null;
  replace(view.list, view.table.root, el("div", { class: "actions" }, toggle, more), line);
}

function toggleEnded(view, isShown) {
  view.showEnded = isShown;
  changeQuery({ all: isShown ? "1" : null });
  showList(view);
}

function stateOf(key) {
  if (key.revoked_at) return "revoked";
  return key.expires_at && new Date(key.expires_at) <= Date.now() ? "expired" : "active";
}

function columns(view) {
  return [
    { title: "Key", name: "name", isHead: true, cell: (key) => nameCell(view, key) },
    { title: "Scope", cell: (key) => el("span", { title: SCOPES[key.scope] }, key.scope) },
    { title: "Project", name: "project", cell: (key) => key.project || "all" },
    {
      title: "State",
      cell: (key) => [badge(stateOf(key)), key.revoked_at ? el("span", { class: "quiet under" }, ago(key.revoked_at)) : null],
    },
    { title: "Last used", cell: (key) => (key.last_used_at ? ago(key.last_used_at) : "never") },
    { title: "Expires", cell: (key) => (key.expires_at ? moment(key.expires_at) : "never") },
    { title: "Created", cell: (key) => ago(key.created_at) },
    { title: "Action", cell: (key) => (stateOf(key) === "active" ? revokeButton(view, key) : null) },
  ];
}

function nameCell({ access }, key) {
  const mark = key.key_id === access.keyId ? el("span", { class: "quiet" }, " (this key)") : null;
  return key.name ? [key.name, mark, el("span", { class: "quiet under" }, key.key_id)] : [key.key_id, mark];
}

function revokeButton(view, key) {
  const isCurrent = key.key_id === view.access.keyId;
  return confirmButton({
    id: `revoke-${key.key_id}`,
    className: "small danger",
    label: "Revoke",
    question: isCurrent
      ? "Revoke the key that you are using? You will be logged out."
      : "Revoke this key? What uses it is refused at once.",
    confirmLabel: "Revoke it",
    act: async () => {
      await remove(path("keys", key.key_id));
      if (isCurrent) location.reload();
      else await reload(view);
    },
  });
}

async function openForm(view) {
  const projects = await projectNames(view.signal);
  view.opener.hidden = true;
  const close = () => {
    view.opener.hidden = false;
    view.opener.focus({ preventScroll: true });
  };
  const isFirst = view.access.isOpen;
  const send = async (body) => {
    const key = await post(path("keys"), body);
    close();
    if (isFirst) await useKey(view, key);
    replace(view.news, createdNotice(key, isFirst));
    await reload(view);
  };
  const cancel = () => {
    replace(view.news);
    close();
  };
  const form = keyForm({ access: view.access, projects, isFirst, send, cancel });
  replace(view.news, form);
  form.querySelector("input").focus();
}

// From the first key on every request needs one, also those of this page.
async function useKey(view, key) {
  await logIn(key.key);
  Object.assign(view.access, { isOpen: false, scope: key.scope, project: key.project, keyId: key.key_id });
  replace(view.current, currentKey(view.access));
  await showAccount(document.getElementById("account"), () => location.reload());
}

function createdNotice(key, isFirst) {
  return secretNotice({
    title: `The key ${key.name || key.key_id} is created.`,
    label: "Key",
    secret: key.key,
    explanation: isFirst
      ? "It is shown only once. From now on this server requires a key; this page is logged in with the new one."
      : "It is shown only once.",
    extra: el("p", { class: "quiet" }, usage(key.scope)),
  });
}

function usage(scope) {
  const inBrowser = "Log in to the dashboard with it, or send it as Authorization: Bearer …";
  return ["ingest", "admin"].includes(scope)
    ? `In a training: RELUMINE_API_KEY. ${scope === "admin" ? inBrowser : ""}`
    : inBrowser;
}
