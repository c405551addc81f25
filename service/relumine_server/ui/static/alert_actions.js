// The actions on an alert: acknowledge, resolve, silence. Each one needs a name and takes a note.

import { get, path, post } from "/static/api.js";
import { el } from "/static/dom.js";

const AUTHOR_KEY = "relumine.author"; // in the browser's local storage
const DURATIONS_H = { "1 hour": 1, "8 hours": 8, "1 day": 24, "1 week": 168 };

// onChange is called with the alert as the server returns it after an action.
export function actionForm(alert, onChange) {
  const id = (name) => `${name}-${alert.id}`;
  const author = el("input", { name: "author", required: true, maxlength: 200, autocomplete: "name", id: id("author"), value: loadAuthor() });
  const note = el("input", { name: "note", maxlength: 2000, id: id("note") });
  const duration = el("select", { name: "hours", id: id("hours") }, Object.entries(DURATIONS_H).map(([label, hours]) => el("option", { value: hours }, label)));
  const problem = el("p", { class: "problem", role: "alert" });
  const formValues = () => ({ author: author.value, note: note.value });
  const postAction = (action) => () => post(path("alerts", alert.id, action), formValues());
  const buttons = [
    ["firing", "regressed", "pending"].includes(alert.state) ? el("button", { type: "submit", id: id("acknowledge") }, "Acknowledge") : null,
    el("button", { type: "button", id: id("resolve"), click: () => submit(postAction("resolve")) }, "Resolve"),
  ];
  const silenceFields = alert.silenced_by ? [] : [
    el("label", {}, "For", duration),
    el("button", { type: "button", id: id("silence"), click: () => submit(() => silence(alert, formValues(), Number(duration.value))) }, "Silence"),
  ];
  const fields = el("div", { class: "actions" }, el("label", {}, "Your name", author), el("label", {}, "Note", note), buttons, silenceFields);
  const form = el("form", { submit: (event) => { event.preventDefault(); submit(postAction("acknowledge")); } }, fields, problem);

  async function submit(request) {
    if (!form.reportValidity()) return;
    const formButtons = form.querySelectorAll("button");
    formButtons.forEach((button) => { button.disabled = true; });
    problem.textContent = "";
    try {
      saveAuthor(author.value);
      onChange(await request());
    } catch (error) {
      formButtons.forEach((button) => { button.disabled = false; });
      problem.textContent = error.message;
    }
  }
  return form;
}

// Silences this alert only; /v1/silences accepts other matchers. Characters of a glob in the layer's name are escaped.
async function silence(alert, { author, note }, hours) {
  const escapeGlob = (text) => text.replaceAll(/[*?[]/g, "[$&]");
  const matchers = { run_id: alert.run_id, kind: alert.kind, ...(alert.layer && { layer: escapeGlob(alert.layer) }) };
  const endsAt = new Date(Date.now() + hours * 3600_000).toISOString();
  await post(path("silences"), { matchers, ends_at: endsAt, author, comment: note });
  return get(path("alerts", alert.id));
}

// The browser may forbid local storage. The name is then not kept.
function loadAuthor() {
  try {
    return localStorage.getItem(AUTHOR_KEY) || "";
  } catch {
    return "";
  }
}

function saveAuthor(name) {
  try {
    localStorage.setItem(AUTHOR_KEY, name);
  } catch {
    // see loadAuthor
  }
}
