// The form on an incident's card: acknowledge, resolve, silence. Each one needs a name and takes a note.

import { el } from "../core/elements.js";
import { authorInput, hoursChoice, labelled, loadAuthor, noteInput, saveAuthor, setDisabled } from "./action_fields.js";
import { actOnIncident, createSilence, scopeMatchers } from "./alert_actions.js";

const UNACKNOWLEDGED = ["firing", "regressed", "pending"];

// Returns a form that acts on the incident of `alerts`, which are open. onChange is called when it has.
export function actionForm(alerts, onChange) {
  const [lead] = alerts;
  const id = (name) => `${name}-${lead.incident_id}`;
  const author = authorInput(id("author"));
  const note = noteInput(id("note"));
  const hours = hoursChoice(id("duration"));
  const problem = el("p", { class: "problem", role: "alert" });
  const values = () => ({ author: author.value, note: note.value });
  const isNew = alerts.some((alert) => UNACKNOWLEDGED.includes(alert.state));
  const acknowledge = () => actOnIncident(lead.incident_id, "acknowledge", values());
  const resolve = () => actOnIncident(lead.incident_id, "resolve", values());
  const silence = () => createSilence(scopeMatchers("incident", lead), Number(hours.value), values());
  const fields = el(
    "div",
    { class: "actions" },
    labelled("Your name", author),
    labelled("Note", note),
    isNew ? el("button", { type: "submit", class: "primary", id: id("acknowledge") }, "Acknowledge") : null,
    el("button", { type: "button", id: id("resolve"), click: () => submit(resolve) }, "Resolve"),
    labelled("For", hours),
    el("button", { type: "button", id: id("silence"), click: () => submit(silence) }, "Silence"),
  );
  const form = el("form", { submit: onSubmit }, fields, problem);

  function onSubmit(event) {
    event.preventDefault();
    submit(acknowledge);
  }

  async function submit(request) {
    if (!form.reportValidity()) return;
    setDisabled(form, true);
    problem.textContent = "";
    try {
      if (author.value !== loadAuthor()) saveAuthor(author.value);
      await request();
      document.activeElement?.blur();
      onChange();
    } catch (error) {
      setDisabled(form, false);
      problem.textContent = error.message;
    }
  }
  return form;
}
