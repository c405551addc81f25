// One incident in the list: a row that opens to its message and its alerts.

import { alertAddress, runAddress } from "../../core/address.js";
import { el, runLabel } from "../../core/elements.js";
import { ago, count, counted } from "../../core/format.js";
import { CAUSES, badge } from "../../core/states.js";
import { alertState, incidentState } from "../../parts/outcome.js";

export const COLUMNS = { severity: "Severity", title: "Incident", run: "Run", cause: "Cause", since: "Since", state: "State" };

const LAYERS_NAMED = 3;

// The alert that explains the others: the server names it in the address of the incident.
export function leadAlertId({ url, layers }) {
  const [, query = ""] = url.split("?", 2);
  return new URLSearchParams(query).get("alert") || layers[0]?.alert_id;
}

// `selected` is a Map and `opened` a Set of ids: a row that is rendered again looks like the one before.
export function incidentRow(incident, { selected, opened, onSelect, isSelectable }) {
  const cells = [
    ["severity", badge(incident.severity)],
    ["title", [titleLink(incident), details(incident, opened)]],
    ["run", runCell(incident)],
    ["cause", incident.cause === "unknown" ? "–" : CAUSES[incident.cause] || incident.cause],
    ["since", [ago(incident.opened_at), el("span", { class: "quiet under" }, `step ${count(incident.opened_step)}`)]],
    ["state", incidentState(incident)],
  ];
  const row = cells.map(([name, content]) => el("td", { class: name }, content));
  const select = isSelectable ? el("td", { class: "select" }, checkbox(incident, selected, onSelect)) : null;
  return el("tr", { "data-incident": incident.id }, select, row);
}

function runCell({ run_id: runId, run, project }) {
  const label = runLabel({ run_id: runId, name: run.name });
  return [
    el("a", { href: runAddress(runId), title: label }, label),
    el("span", { class: "quiet under" }, run.group ? `${project} / ${run.group}` : project),
  ];
}

function checkbox(incident, selected, onSelect) {
  const box = el("input", {
    type: "checkbox",
    id: `select-${incident.id}`,
    "aria-label": `Select ${incident.title}`,
    change: toggle,
  });
  box.checked = selected.has(incident.id);
  function toggle() {
    if (box.checked) selected.set(incident.id, incident);
    else selected.delete(incident.id);
    onSelect();
  }
  return box;
}

function titleLink(incident) {
  return el(
    "a",
    { href: alertAddress(leadAlertId(incident)), id: `incident-${incident.id}`, class: "incident-title", title: incident.title },
    shortTitle(incident),
  );
}

// The line below names the layers, and another column the step.
function shortTitle({ title, alert_count: total }) {
  return total > 1 ? title.replace(/, the first is .* at step [\d,]+/, "") : title;
}

// The message and the alerts are made when they are opened: there may be a hundred in each of hundreds of rows.
function details(incident, opened) {
  const node = el("details", { toggle: fill }, el("summary", { id: `more-${incident.id}` }, summary(incident)));
  function fill() {
    if (node.open) opened.add(incident.id);
    else opened.delete(incident.id);
    if (!node.open || node.children.length > 1) return;
    node.append(el("p", {}, incident.message));
    if (incident.alert_count > 1) node.append(el("ul", {}, incident.layers.map(memberItem)), restNote(incident));
  }
  node.open = opened.has(incident.id);
  if (node.open) fill();
  return node;
}

function summary({ layers, alert_count: total }) {
  const names = [...new Set(layers.map(layerName))];
  const named = names.slice(0, LAYERS_NAMED).join(", ");
  const rest = names.length > LAYERS_NAMED ? ` and ${count(names.length - LAYERS_NAMED)} more` : "";
  return `${counted(total, "alert")}: ${named}${rest}`;
}

function layerName({ layer_label: label }) {
  return label || "the run";
}

function memberItem(member) {
  return el(
    "li",
    {},
    el("a", { href: alertAddress(member.alert_id) }, layerName(member)),
    badge(member.kind),
    el("span", { class: "quiet" }, `since step ${count(member.opened_step)}`),
    memberState(member),
  );
}

// A member has no outcome; its state is the word for it.
function memberState(member) {
  return ["resolved", "ended"].includes(member.state) ? badge(member.state) : alertState(member);
}

function restNote({ layers, alert_count: total, run_id: runId }) {
  if (total <= layers.length) return "";
  return el(
    "p",
    { class: "quiet" },
    `The first ${count(layers.length)} of ${count(total)} alerts. `,
    el("a", { href: runAddress(runId) }, "All are on the page of the run"),
  );
}
