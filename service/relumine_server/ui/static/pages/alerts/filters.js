// The filters above the list of incidents. The server applies all but the search.

import { changeQuery, readAddress } from "../../core/address.js";
import { el } from "../../core/elements.js";
import { CAUSES } from "../../core/states.js";

const TITLES = { q: "Search in the list", severity: "Severity", cause: "Cause", project: "Project" };
const TYPING_MS = 300;
const SEVERITIES = { critical: "critical", warning: "warning", info: "info" };
export const SERVER_FILTERS = ["severity", "cause", "project"];

export class FilterBar {
  // onChange is called with the parts of the query that have changed.
  constructor(onChange) {
    const typed = { maxlength: 256, autocomplete: "off" };
    this.inputs = {
      q: el("input", { ...typed, type: "search", id: "filter-q", placeholder: "title, run or layer" }),
      severity: choice("severity", SEVERITIES),
      cause: choice("cause", CAUSES),
      project: el("input", { ...typed, id: "filter-project", size: 14, list: "known-projects" }),
    };
    for (const [name, input] of Object.entries(this.inputs)) {
      listen(input, () => onChange({ [name]: input.value.trim() || null }));
    }
    this.projects = el("datalist", { id: "known-projects" });
    const labels = Object.entries(TITLES).map(([name, title]) => el("label", {}, title, this.inputs[name]));
    const stay = (event) => event.preventDefault();
    const properties = { class: "filters", role: "search", "aria-label": "Filter the incidents", submit: stay };
    this.root = el("form", properties, labels, this.projects);
    this.read();
  }

  // An address may name a severity or a cause that does not exist; then it names none.
  read() {
    const { query } = readAddress();
    for (const [name, input] of Object.entries(this.inputs)) {
      input.value = query.get(name) || "";
      if (!input.value) changeQuery({ [name]: null });
    }
  }

  // Offers the projects of the incidents that are shown.
  offer(incidents) {
    const names = [...new Set(incidents.map(({ project }) => project))].sort();
    if (names.length === this.projects.children.length) return;
    this.projects.replaceChildren(...names.map((value) => el("option", { value })));
  }
}

// Waits while the reader types.
function listen(input, change) {
  const isChoice = input.tagName === "SELECT";
  let timer = 0;
  input.addEventListener(isChoice ? "change" : "input", () => {
    clearTimeout(timer);
    timer = setTimeout(change, isChoice ? 0 : TYPING_MS);
  });
}

function choice(name, values) {
  const options = Object.entries(values).map(([value, title]) => el("option", { value }, title));
  return el("select", { id: `filter-${name}` }, el("option", { value: "" }, "any"), options);
}
