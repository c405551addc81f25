// One project: how long its runs are kept, and the thresholds of its alerts.

import { get, path } from "../../core/api.js";
import { addressOf } from "../../core/address.js";
import { el, plain, replace } from "../../core/elements.js";
import { policySection } from "./policy.js";
import { retentionSection } from "./retention.js";

export async function showProject({ root, signal, access }, name, query) {
  if ([".", ".."].includes(name)) {
    // browsers resolve these parts of an address, also escaped
    replace(
      root,
      el("h1", {}, name),
      el("p", { class: "notice" }, "The settings of a project of this name have no address that a browser can use."),
    );
    return;
  }
  document.title = `${plain(name)} · Settings · Relumine`;
  const [retention, policy] = await Promise.all([
    get(path("projects", name, "retention"), { signal }),
    get(path("projects", name, "policy"), { signal }),
  ]);
  const refusal = access.canManage
    ? null
    : el("p", { class: "quiet" }, "To save changes takes an admin key. You can try thresholds on stored runs.");
  replace(
    root,
    el("p", { class: "crumbs" }, el("a", { href: addressOf(["settings", "projects"]) }, "Projects")),
    el("h1", {}, name),
    el("p", { class: "quiet" }, el("a", { href: addressOf(["runs"], { project: name }) }, "Runs of this project")),
    refusal,
    retentionSection(name, retention, access),
    policySection({ project: name, policy, access, signal, query }),
  );
}
