// Fields that several forms have.

import { el } from "../../core/elements.js";

// options: pairs of a value and its text.
export function selectField(name, options, value, onChange = null) {
  const nodes = options.map(([option, text]) => el("option", { value: option, selected: option === value }, text));
  return el("select", { name, change: onChange }, nodes);
}

// Returns a field for the name of a project, and the list of its suggestions.
export function projectField(id, projects, { value = null, disabled = false } = {}) {
  const properties = { name: "project", maxlength: 200, list: id, autocomplete: "off", placeholder: "all projects" };
  const options = projects.map((project) => el("option", { value: project }));
  return [el("input", { ...properties, value, disabled }), el("datalist", { id }, options)];
}
