// The form that creates a key.

import { el, replace } from "../../core/elements.js";
import { messageOf } from "./actions.js";
import { projectField, selectField } from "./fields.js";
import { SCOPES } from "./key_words.js";

const DAY_MS = 86_400_000;
const EXPIRIES = [
  ["", "never"],
  ["7", "in 7 days"],
  ["30", "in 30 days"],
  ["90", "in 90 days"],
  ["365", "in a year"],
  ["date", "on a date"],
];

// isFirst: the server has no keys yet. send(body) makes the request.
export function keyForm({ access, projects, isFirst, send, cancel }) {
  const fields = makeFields(projects, isFirst);
  const problem = el("p", { class: "problem", role: "alert" });
  const button = el("button", { type: "submit", class: "primary" }, "Create the key");
  async function submit(event) {
    event.preventDefault();
    replace(problem);
    button.disabled = true;
    try {
      await send(bodyOf(fields, access, isFirst));
    } catch (error) {
      replace(problem, messageOf(error));
      button.disabled = false;
      button.focus();
    }
  }
  const onKey = (event) => {
    if (event.key === "Escape") cancel();
  };
  return el(
    "form",
    { class: "card form", submit, keydown: onKey, "aria-label": "Create a key" },
    layout(fields, access, isFirst),
    problem,
    el("div", { class: "actions" }, button, el("button", { type: "button", click: cancel }, "Cancel")),
  );
}

function makeFields(projects, isFirst) {
  const date = el("input", { type: "date", name: "date", min: dateIn(1) });
  const dateLabel = el("label", { hidden: true }, "Last day", date);
  const expiry = selectField("expiry", EXPIRIES, "", () => {
    dateLabel.hidden = expiry.value !== "date";
    date.required = !dateLabel.hidden;
  });
  const [project, suggestions] = projectField("key-projects", projects, { disabled: isFirst });
  const name = el("input", { name: "name", maxlength: 200, autocomplete: "off", placeholder: "training cluster" });
  return { scopes: scopeFields(isFirst), expiry, date, dateLabel, name, project, projects: suggestions };
}

function scopeFields(isFirst) {
  const chosen = isFirst ? "admin" : "read";
  return Object.keys(SCOPES).map((scope) => {
    const disabled = isFirst && scope !== "admin";
    return el("input", { type: "radio", name: "scope", value: scope, checked: scope === chosen, disabled });
  });
}

function layout(fields, access, isFirst) {
  const scopes = fields.scopes.map((radio) =>
    el("label", { class: "inline scope" }, radio, el("span", {}, el("strong", {}, radio.value), ` ${SCOPES[radio.value]}`)),
  );
  const project = access.project
    ? el("p", { class: "quiet" }, `Only for the project ${access.project}, like your own key.`)
    : el("label", {}, "Project", fields.project, fields.projects);
  const first =
    "The first key must be an admin key of all projects. As soon as it exists, this server requires a key for everything: " +
    "trainings need one in RELUMINE_API_KEY.";
  return [
    isFirst ? el("p", {}, first) : null,
    el(
      "div",
      { class: "fields" },
      el("label", {}, "Name (optional)", fields.name),
      project,
      el("label", {}, "Expires", fields.expiry),
      fields.dateLabel,
    ),
    el("fieldset", {}, el("legend", {}, "Scope"), el("div", { class: "choices column" }, scopes)),
  ];
}

function bodyOf(fields, access, isFirst) {
  const body = { scope: fields.scopes.find((radio) => radio.checked).value };
  const [name, project] = [fields.name.value.trim(), fields.project.value.trim()];
  if (name) body.name = name;
  if (access.project) body.project = access.project;
  else if (project && !isFirst) body.project = project;
  const end = endOf(fields);
  if (end) body.expires_at = end.toISOString();
  return body;
}

// Returns when the key expires; a date means the end of that day here.
function endOf({ expiry, date }) {
  if (!expiry.value) return null;
  if (expiry.value === "date") return new Date(`${date.value}T23:59:59`);
  return new Date(Date.now() + Number(expiry.value) * DAY_MS);
}

function dateIn(days) {
  return new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10);
}
