// Acknowledge, resolve, silence: one form, with the name of who does it and a note.

import { get, path } from "../../core/api.js";
import { el } from "../../core/elements.js";
import { refreshOpenAlerts } from "../../core/open_alerts.js";
import { authorInput, choice, hoursChoice, labelled, noteInput, saveAuthor, setDisabled } from "../../parts/action_fields.js";
import { actOnAlert, createSilence, scopeMatchers } from "../../parts/alert_actions.js";
import { isOpen } from "../../parts/outcome.js";

// onChange is called with the alert as the server has it after an action.
export function actionForms(alert, onChange) {
  if (alert.state === "resolved") return null;
  return [el("h2", {}, "Act on it"), new ActionForm(alert, onChange).root];
}

class ActionForm {
  constructor(alert, onChange) {
    this.alert = alert;
    this.onChange = onChange;
    this.author = authorInput("author");
    this.note = noteInput("note");
    this.scope = choice("silence-scope", scopes(alert));
    this.hours = hoursChoice("silence-hours");
    this.problem = el("p", { class: "problem", role: "alert" });
    this.root = el(
      "form",
      { class: "alert-form", submit: (event) => event.preventDefault() },
      el("div", { class: "pair" }, labelled("Your name", this.author), labelled("Note", this.note)),
      el("div", { class: "actions" }, this.stateButtons()),
      this.silenceFields(),
      this.problem,
    );
  }

  stateButtons() {
    const act = (action) => () => this.submit(() => actOnAlert(this.alert.id, action, this.values()));
    const canAcknowledge = ["firing", "regressed", "pending"].includes(this.alert.state);
    const acknowledge = canAcknowledge ? button("acknowledge", "Acknowledge", act("acknowledge")) : null;
    return [acknowledge, button("resolve", "Resolve", act("resolve"))];
  }

  silenceFields() {
    if (!isOpen(this.alert) || this.alert.silenced_by) return null;
    const silence = () => this.submit(() => this.silence());
    return el(
      "div",
      { class: "actions" },
      labelled("Silence", this.scope),
      labelled("for", this.hours),
      button("silence", "Silence", silence),
    );
  }

  values() {
    return { author: this.author.value.trim(), note: this.note.value };
  }

  async silence() {
    await createSilence(scopeMatchers(this.scope.value, this.alert), Number(this.hours.value), this.values());
    return get(path("alerts", this.alert.id));
  }

  async submit(request) {
    if (!this.root.reportValidity()) return;
    setDisabled(this.root, true);
    this.problem.textContent = "";
    try {
      saveAuthor(this.author.value.trim());
      this.onChange(await request());
      refreshOpenAlerts();
    } catch (error) {
      this.problem.textContent = error.message;
    }
    setDisabled(this.root, false);
  }
}

function button(id, text, click) {
  return el("button", { type: "button", id, click }, text);
}

function scopes({ run, project }) {
  return {
    alert: "this alert",
    incident: "its incident",
    run: "its run",
    ...(run.group ? { group: `group ${shorten(run.group)}` } : {}),
    project: `project ${shorten(project)}`,
  };
}

function shorten(text) {
  return text.length > 32 ? `${text.slice(0, 31)}…` : text;
}
