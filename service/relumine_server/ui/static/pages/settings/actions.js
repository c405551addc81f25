// Actions on the pages of settings: a button says what came of it beside itself, and asks before it destroys anything.

import { ApiError } from "../../core/api.js";
import { copyButton, el, replace } from "../../core/elements.js";

export function messageOf(error) {
  if (error instanceof ApiError) return error.message;
  throw error;
}

// Returns a line for the outcome of an action, which screen readers announce.
export function statusLine() {
  return el("p", { class: "outcome", role: "status" });
}

export function showOutcome(line, text, { isProblem = false } = {}) {
  line.classList.toggle("problem", isProblem);
  replace(line, text);
}

// Runs a request while the button is disabled. The outcome appears in the line; returns the answer, or null.
export async function perform(button, line, request, successText = "") {
  button.disabled = true;
  showOutcome(line, "");
  try {
    const answer = await request();
    showOutcome(line, successText);
    return answer ?? true;
  } catch (error) {
    showOutcome(line, messageOf(error), { isProblem: true });
    return null;
  } finally {
    button.disabled = false;
  }
}

// Returns a button that asks first: the question takes its place, with the focus on "Cancel".
export function confirmButton({ id, label, question, confirmLabel, act, className = "danger" }) {
  const holder = el("span", { class: "confirm" });
  const line = statusLine();
  const opener = el("button", { type: "button", id, class: className, click: ask }, label);
  function close() {
    replace(holder, opener);
    opener.focus({ preventScroll: true });
  }
  function ask() {
    const cancel = el("button", { type: "button", click: close }, "Cancel");
    const yes = el("button", { type: "button", class: "danger", click: confirm }, confirmLabel);
    async function confirm() {
      if (await perform(yes, line, act)) close();
    }
    const onKey = (event) => {
      if (event.key === "Escape") close();
    };
    showOutcome(line, "");
    const group = el(
      "span",
      { class: "question", role: "group", "aria-label": question, keydown: onKey },
      el("span", {}, question),
      yes,
      cancel,
      line,
    );
    replace(holder, group);
    cancel.focus({ preventScroll: true });
  }
  replace(holder, opener);
  return holder;
}

// Shows a secret that the server shows only once, until the reader closes the notice.
export function secretNotice({ title, secret, label, explanation, extra = null }) {
  const field = el("input", {
    type: "text",
    readonly: true,
    value: secret,
    spellcheck: "false",
    autocomplete: "off",
    focus: () => field.select(),
  });
  const close = el("button", { type: "button", class: "small", click: () => notice.remove() }, "I have copied it");
  const notice = el(
    "section",
    { class: "notice secret", "aria-label": title },
    el("p", { role: "status" }, el("strong", {}, title), " ", explanation),
    el("div", { class: "actions" }, el("label", { class: "wide" }, label, field), copyButton(secret), close),
    extra,
  );
  return notice;
}
