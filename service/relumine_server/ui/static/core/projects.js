// The switch between projects in the bar. Lists of runs and alerts, and the comparison, have the project in their address;
// the other pages keep it, so that the links of the bar lead back to the same project.

import { addressOf, readAddress } from "./address.js";
import { get, path, withQuery } from "./api.js";
import { el, replace } from "./elements.js";
import { readSession } from "./session.js";

const SECTIONS = ["runs", "alerts", "compare"];
const MOST_PROJECTS = 200;

const select = document.getElementById("project");
let names = [];
let current = "";

export function startProjects() {
  select.addEventListener("change", choose);
  select.addEventListener("focus", refreshProjects); // there may be new ones
  window.addEventListener("hashchange", readProject);
  window.addEventListener("querychange", readProject);
  readProject();
  refreshProjects();
}

export async function refreshProjects() {
  names = await projectNames().catch(() => []); // the page reports the error
  render();
}

async function projectNames() {
  const session = await readSession();
  if (session.needed && !session.scope) return []; // the page asks for a key
  const { items } = await get(withQuery(path("projects"), { limit: MOST_PROJECTS }));
  return items.map(({ project }) => project);
}

function hasProject({ parts: [section = "runs", id] }) {
  return SECTIONS.includes(section) && !id;
}

function readProject() {
  const address = readAddress();
  if (hasProject(address)) current = address.query.get("project") || "";
  render();
}

function choose() {
  const address = readAddress();
  const query = hasProject(address) ? Object.fromEntries(address.query) : {};
  const [section = "runs"] = hasProject(address) ? address.parts : [];
  window.addEventListener("hashchange", () => select.focus(), { once: true }); // the router focuses the page
  location.hash = addressOf([section], { ...query, project: select.value });
}

function render() {
  const listed = current && !names.includes(current) ? [...names, current] : names;
  select.hidden = listed.length < 2;
  const version = JSON.stringify(listed);
  if (select.dataset.version !== version) {
    select.dataset.version = version;
    const options = listed.map((name) => el("option", { value: name }, name));
    replace(select, el("option", { value: "" }, "All projects"), options);
  }
  select.value = current;
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (SECTIONS.includes(link.dataset.nav)) link.href = addressOf([link.dataset.nav], { project: current });
  }
}
