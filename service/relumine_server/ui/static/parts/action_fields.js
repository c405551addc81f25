// Fields that the forms for alerts and silences share: who, for how long, a choice.

import { el } from "../core/elements.js";

const AUTHOR_KEY = "relumine.author"; // in the browser's local storage
const HOURS = { 1: "1 hour", 8: "8 hours", 24: "1 day", 168: "1 week" };

// values: {value: title}
export function choice(id, values) {
  const options = Object.entries(values).map(([value, title]) => el("option", { value }, title));
  return el("select", { id }, options);
}

export function hoursChoice(id) {
  return choice(id, HOURS);
}

export function authorInput(id) {
  const properties = { id, required: true, maxlength: 200, autocomplete: "name", size: 14, value: loadAuthor() };
  return el("input", properties);
}

export function noteInput(id) {
  return el("input", { id, maxlength: 2000, size: 18 });
}

export function labelled(text, input) {
  return el("label", {}, text, input);
}

export function setDisabled(form, isDisabled) {
  for (const button of form.querySelectorAll("button")) button.disabled = isDisabled;
}

// The browser may forbid local storage. The name is then not kept.
export function loadAuthor() {
  try {
    return localStorage.getItem(AUTHOR_KEY) || "";
  } catch {
    return "";
  }
}

export function saveAuthor(name) {
  try {
    localStorage.setItem(AUTHOR_KEY, name);
  } catch {
    // see loadAuthor
  }
}
