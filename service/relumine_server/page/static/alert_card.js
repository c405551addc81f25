// One alert in words: what, where, since when, why, what to do.

import { path, post } from "/static/api.js";
import { count, el, moment, number, share, tag } from "/static/dom.js";

const CAUSES = {
  high_learning_rate: "high learning rate",
  negative_bias: "negative bias",
  bad_initialization: "bad initialization",
  input_shift: "shift of the input",
  upstream_collapse: "collapse of a layer before it",
  unknown: "unknown",
};
const AUTHOR = "relumine.author";

export function isOpen(alert) {
  return alert.state !== "resolved";
}

// onChange is called with the alert as the server has it after an acknowledgement.
export function alertCard(alert, { showRun = false, onChange }) {
  const runLink = el("a", { href: `#/runs/${encodeURIComponent(alert.run_id)}` }, alert.run.name || alert.run_id);
  const title = el("a", { href: `#/alerts/${encodeURIComponent(alert.id)}`, id: `alert-${alert.id}` }, alert.title);
  return el("li", { class: `card ${isOpen(alert) ? alert.severity : "resolved"}`, "data-alert": alert.id },
    el("header", {}, el("h3", {}, title), tag(alert.severity), tag(alert.state)),
    el("p", { class: "message" }, alert.message),
    el("p", { class: "quiet" }, ...origin(alert), showRun ? el("span", {}, " · run ", runLink) : ""),
    el("p", {}, `Cause: ${CAUSES[alert.cause] || alert.cause} (${share(alert.confidence)} sure). `, forecast(alert)),
    remedies(alert),
    ["firing", "regressed"].includes(alert.state) ? acknowledgeForm(alert, onChange) : null,
  );
}

function origin(alert) {
  const from = [`since step ${count(alert.opened_step)}, `, moment(alert.opened_at)];
  if (isOpen(alert)) return from;
  const why = alert.resolved_reason ? ` (${alert.resolved_reason})` : "";
  return [...from, ` · resolved at step ${count(alert.resolved_step)}${why}`];
}

function forecast({ forecast: ahead }) {
  if (!ahead) return "";
  const range = `${count(ahead.low)} to ${count(ahead.high)}`;
  return `Half of it dead near step ${count(ahead.step)} (${share(ahead.confidence)}: ${range}).`;
}

function remedies(alert) {
  if (!alert.remedies.length) return null;
  const line = (remedy) => {
    const target = remedy.parameter ? ` ${remedy.parameter}` : "";
    const value = remedy.value === null ? "" : ` → ${number(remedy.value)}`;
    const what = el("strong", {}, `${remedy.action.replaceAll("_", " ")}${target}${value}`);
    return el("li", {}, what, remedy.reason ? `: ${remedy.reason}` : "");
  };
  return el("div", {}, el("p", {}, "What to do:"), el("ul", {}, alert.remedies.map(line)));
}

function acknowledgeForm(alert, onChange) {
  const author = el("input", { name: "author", required: true, maxlength: 200, autocomplete: "name", id: `author-${alert.id}`, value: remembered() });
  const note = el("input", { name: "note", maxlength: 2000, id: `note-${alert.id}` });
  const button = el("button", { type: "submit", id: `acknowledge-${alert.id}` }, "Acknowledge");
  const problem = el("p", { class: "problem", role: "alert" });
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      remember(author.value);
      onChange(await post(path("alerts", alert.id, "acknowledge"), { author: author.value, note: note.value }));
    } catch (error) {
      button.disabled = false;
      problem.textContent = error.message;
    }
  }
  const fields = el("div", { class: "actions" }, el("label", {}, "Your name", author), el("label", {}, "Note", note), button);
  return el("form", { submit }, fields, problem);
}

function remembered() {
  try {
    return localStorage.getItem(AUTHOR) || "";
  } catch {
    return ""; // storage may be forbidden; then the name is typed again
  }
}

function remember(name) {
  try {
    localStorage.setItem(AUTHOR, name);
  } catch {
    // as above
  }
}
