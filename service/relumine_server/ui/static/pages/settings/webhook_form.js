// The form of a webhook, to create or to change one. The URL comes first: the format follows from it.

import { el, replace } from "../../core/elements.js";
import { messageOf } from "./actions.js";
import { projectField, selectField } from "./fields.js";
import { EVENTS, FORMATS, formatOf } from "./webhook_words.js";

const NEW = {
  url: "",
  name: null,
  format: "standard",
  events: ["alert.firing", "alert.resolved"],
  min_severity: "warning",
  project: null,
  group_wait_s: null,
};
const SEVERITIES = { info: "Info: everything", warning: "Warning and critical", critical: "Critical only" };

// send(body) makes the request with the fields that differ; cancel() closes the form.
export function webhookForm({ webhook = NEW, projects, access, submitLabel, send, cancel }) {
  const isNew = webhook === NEW;
  const fields = makeFields(webhook, projects, access);
  const problem = el("p", { class: "problem", role: "alert" });
  const button = el("button", { type: "submit", class: "primary" }, submitLabel);
  async function submit(event) {
    event.preventDefault();
    replace(problem);
    button.disabled = true;
    try {
      await send(isNew ? newWebhook(fields) : changesOf(webhook, fields));
    } catch (error) {
      replace(problem, messageOf(error));
      (/\burl\b|host|address/i.test(problem.textContent) ? fields.url : button).focus();
    } finally {
      button.disabled = false;
    }
  }
  const onKey = (event) => {
    if (event.key === "Escape") cancel();
  };
  const actions = el("div", { class: "actions" }, button, el("button", { type: "button", click: cancel }, "Cancel"));
  return el(
    "form",
    { class: "card form", submit, keydown: onKey, "aria-label": submitLabel },
    layout(fields, access),
    problem,
    actions,
  );
}

function makeFields(webhook, projects, access) {
  const [project, suggestions] = projectField("webhook-projects", projects, {
    value: webhook.project,
    disabled: Boolean(access.project),
  });
  const fields = {
    url: urlField(webhook.url),
    format: selectField("format", Object.entries(FORMATS), webhook.format),
    hint: el("span", { class: "hint", role: "status" }),
    isFormatChosen: false,
    name: el("input", { name: "name", maxlength: 200, value: webhook.name, autocomplete: "off" }),
    severity: selectField("min_severity", Object.entries(SEVERITIES), webhook.min_severity),
    project,
    projects: suggestions,
    wait: waitField(webhook.group_wait_s),
    events: eventFields(webhook.events),
  };
  fields.url.addEventListener("input", () => followUrl(fields));
  fields.format.addEventListener("change", () => {
    fields.isFormatChosen = true;
    followUrl(fields);
  });
  return fields;
}

function urlField(value) {
  const placeholder = "https://hooks.slack.com/services/…";
  const typed = { autocomplete: "off", spellcheck: "false", placeholder };
  return el("input", { name: "url", type: "url", required: true, maxlength: 2000, value, ...typed });
}

function waitField(value) {
  return el("input", { name: "group_wait_s", type: "number", min: 0, max: 3600, step: "any", value, placeholder: "30" });
}

function eventFields(chosen) {
  const offered = Object.keys(EVENTS).filter((event) => event !== "webhook.test" || chosen.includes(event));
  return offered.map((event) => el("input", { type: "checkbox", value: event, checked: chosen.includes(event) }));
}

// Chooses the format by the URL until the reader has chosen another one.
function followUrl({ url, format, hint, isFormatChosen }) {
  const detected = formatOf(url.value);
  if (detected && !isFormatChosen) format.value = detected;
  const isOther = detected && detected !== format.value;
  replace(hint, detected ? (isOther ? `The URL looks like ${FORMATS[detected]}.` : "Follows from the URL.") : "");
}

function layout(fields, access) {
  const events = fields.events.map((box) =>
    el("label", { class: "inline", title: EVENTS[box.value][1] }, box, EVENTS[box.value][0]),
  );
  const project = access.project
    ? el("p", { class: "quiet" }, `Only of the project ${access.project}, like your key.`)
    : el("label", {}, "Project (a name, or a pattern with * and ?)", fields.project, fields.projects);
  return [
    el("label", { class: "wide" }, "URL of the receiver", fields.url),
    el(
      "div",
      { class: "fields" },
      el("label", {}, "Format", fields.format, fields.hint),
      el("label", {}, "Name (optional)", fields.name),
      el("label", {}, "Alerts of severity", fields.severity),
      project,
      el("label", {}, "Group later alerts of a run for (seconds)", fields.wait),
    ),
    el("fieldset", {}, el("legend", {}, "Send when"), el("div", { class: "choices" }, events)),
  ];
}

function valuesOf(fields) {
  const values = {
    url: fields.url.value.trim(),
    name: fields.name.value.trim() || null,
    events: fields.events.filter((box) => box.checked).map((box) => box.value),
    min_severity: fields.severity.value,
    format: fields.format.value,
    project: fields.project.value.trim() || null,
    group_wait_s: fields.wait.value === "" ? null : Number(fields.wait.value),
  };
  return values;
}

// A format that was not chosen is left to the server.
function newWebhook(fields) {
  const { format, group_wait_s: wait, project, ...values } = valuesOf(fields);
  if (fields.isFormatChosen) values.format = format;
  if (wait !== null) values.group_wait_s = wait;
  if (!fields.project.disabled) values.project = project;
  return values;
}

function changesOf(webhook, fields) {
  const values = valuesOf(fields);
  if (values.group_wait_s === null) delete values.group_wait_s;
  if (fields.project.disabled) delete values.project;
  const isChanged = ([name, value]) => JSON.stringify(value) !== JSON.stringify(webhook[name]);
  return Object.fromEntries(Object.entries(values).filter(isChanged));
}
