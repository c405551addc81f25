// What a person can do about an alert: acknowledge, resolve, silence. Each with a name and a note.

import { get, path, post } from "/static/api.js";
import { el } from "/static/dom.js";

const AUTHOR = "relumine.author";
const HOURS = { "1 hour": 1, "8 hours": 8, "1 day": 24, "1 week": 168 };

// onChange is called with the alert as the server has it afterwards.
export function actionForm(alert, onChange) {
  const id = (what) => `${what}-${alert.id}`;
  const author = el("input", { name: "author", required: true, maxlength: 200, autocomplete: "name", id: id("author"), value: remembered() });
  const note = el("input", { name: "note", maxlength: 2000, id: id("note") });
  const hours = el("select", { name: "hours", id: id("hours") }, Object.entries(HOURS).map(([word, value]) => el("option", { value }, word)));
  const problem = el("p", { class: "problem", role: "alert" });
  const said = () => ({ author: author.value, note: note.value });
  const move = (what) => () => post(path("alerts", alert.id, what), said());
  const buttons = [
    ["firing", "regressed", "pending"].includes(alert.state) ? el("button", { type: "submit", id: id("acknowledge") }, "Acknowledge") : null,
    el("button", { type: "button", id: id("resolve"), click: () => act(move("resolve")) }, "Resolve"),
  ];
  const quiet = alert.silenced_by ? [] : [
    el("label", {}, "For", hours),
    el("button", { type: "button", id: id("silence"), click: () => act(() => silence(alert, said(), Number(hours.value))) }, "Silence"),
  ];
  const fields = el("div", { class: "actions" }, el("label", {}, "Your name", author), el("label", {}, "Note", note), buttons, quiet);
  const form = el("form", { submit: (event) => { event.preventDefault(); act(move("acknowledge")); } }, fields, problem);

  async function act(step) {
    if (!form.reportValidity()) return;
    const all = form.querySelectorAll("button");
    all.forEach((button) => { button.disabled = true; });
    problem.textContent = "";
    try {
      remember(author.value);
      onChange(await step());
    } catch (error) {
      all.forEach((button) => { button.disabled = false; });
      problem.textContent = error.message;
    }
  }
  return form;
}

// This alert alone; other matchers are for whoever asks /v1/silences. What could be a glob is meant as it stands.
async function silence(alert, { author, note }, hours) {
  const literal = (text) => text.replaceAll(/[*?[]/g, "[$&]");
  const matchers = { run_id: alert.run_id, kind: alert.kind, ...(alert.layer && { layer: literal(alert.layer) }) };
  const ends = new Date(Date.now() + hours * 3600_000).toISOString();
  await post(path("silences"), { matchers, ends_at: ends, author, comment: note });
  return get(path("alerts", alert.id));
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
