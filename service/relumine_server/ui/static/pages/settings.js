// The settings: webhooks, keys, projects, and the server. Each part has an address of its own: #/settings/<part>/….

import { addressOf } from "../core/address.js";
import { el, replace } from "../core/elements.js";
import { readAccess } from "./settings/access.js";

const PARTS = [
  {
    name: "webhooks",
    title: "Webhooks",
    needs: "admin",
    why: "The addresses of many receivers are secrets, so webhooks take an admin key.",
  },
  { name: "keys", title: "Keys" },
  { name: "projects", title: "Projects" },
  { name: "server", title: "Server" },
];

const SHOW = {
  webhooks: async (page, [id], query) => {
    if (id) return (await import("./settings/webhook.js")).showWebhook(page, id, query);
    return (await import("./settings/webhooks.js")).showWebhooks(page, query);
  },
  keys: async (page, _, query) => (await import("./settings/keys.js")).showKeys(page, query),
  projects: async (page, [name], query) => {
    if (name) return (await import("./settings/project.js")).showProject(page, name, query);
    return (await import("./settings/projects.js")).showProjects(page, query);
  },
  server: async (page) => (await import("./settings/server.js")).showServer(page),
};

export async function showSettings({ root, signal }, parts, query) {
  const access = await readAccess();
  const offered = PARTS.filter((part) => isOffered(part, access));
  const [name = offered[0].name, ...rest] = parts;
  const part = PARTS.find((candidate) => candidate.name === name);
  const content = el("div", { class: "settings-content" });
  replace(root, el("div", { class: "settings" }, navigation(offered, name, access), content));
  if (!part) return showUnknown(content);
  document.title = `${part.title} · Relumine`;
  if (!isOffered(part, access)) return showRefused(content, part, access);
  return SHOW[name]({ root: content, signal, access }, rest, query);
}

function isOffered(part, access) {
  return part.needs !== "admin" || access.canManage;
}

function navigation(offered, current, access) {
  const links = offered.map(({ name, title }) =>
    el(
      "a",
      {
        href: addressOf(["settings", name]),
        "aria-current": name === current ? "page" : null,
      },
      title,
    ),
  );
  const missing = PARTS.filter((part) => !isOffered(part, access)).map((part) => el("p", { class: "quiet" }, part.why));
  return el("div", { class: "settings-side" }, el("nav", { "aria-label": "Settings" }, links), missing);
}

function showRefused(content, part, access) {
  replace(
    content,
    el("h1", {}, part.title),
    el("p", { class: "notice" }, `${part.why} You are logged in with a key of scope ${access.scope}.`),
  );
}

function showUnknown(content) {
  replace(
    content,
    el("h1", {}, "Page not found"),
    el("p", {}, "The settings have four parts: webhooks, keys, projects and server."),
  );
}
