// Acknowledge, resolve or silence the selected incidents.

import { el } from "../../core/elements.js";
import { counted } from "../../core/format.js";
import { refreshOpenAlerts } from "../../core/open_alerts.js";
import { authorInput, choice, hoursChoice, labelled, noteInput } from "../../parts/action_fields.js";
import { loadAuthor, saveAuthor, setDisabled } from "../../parts/action_fields.js";
import { actOnIncident, createSilence, scopeMatchers } from "../../parts/alert_actions.js";

const SCOPES = { incident: "these incidents", run: "their runs", group: "their groups", project: "their projects" };

export class BulkBar {
  // `selected` is a Map from the id of an incident to it. onChange is called after alerts were changed, or the selection.
  constructor(selected, { state, onChange }) {
    this.selected = selected;
    this.onChange = onChange;
    this.number = el("strong");
    this.author = authorInput("bulk-author");
    this.note = noteInput("bulk-note");
    this.scope = choice("bulk-scope", SCOPES);
    this.hours = hoursChoice("bulk-hours");
    this.progress = el("span", { class: "quiet", role: "status" });
    this.problem = el("p", { class: "problem", role: "alert" });
    const fields = [this.number, labelled("Your name", this.author), labelled("Note", this.note)];
    const actions = state === "open" ? this.openButtons() : this.resolveButton();
    const clear = this.button("clear", "Clear the selection", () => this.clear());
    const stay = (event) => event.preventDefault();
    this.root = el(
      "form",
      { class: "bulk", "aria-label": "Selected incidents", hidden: true, submit: stay },
      el("div", { class: "actions" }, fields, actions, clear, this.progress),
      this.problem,
    );
  }

  button(name, text, click) {
    return el("button", { type: "button", id: `bulk-${name}`, click }, text);
  }

  resolveButton() {
    return this.button("resolve", "Resolve", () => this.act("resolve"));
  }

  openButtons() {
    return [
      this.button("acknowledge", "Acknowledge", () => this.act("acknowledge")),
      this.resolveButton(),
      labelled("Silence", this.scope),
      labelled("for", this.hours),
      this.button("silence", "Silence", () => this.silence()),
    ];
  }

  update() {
    if (this.root.hidden && this.selected.size) this.author.value = loadAuthor();
    if (!this.selected.size) this.problem.textContent = "";
    this.root.hidden = !this.selected.size;
    this.number.textContent = `${counted(this.selected.size, "incident")} selected`;
  }

  values() {
    return { author: this.author.value.trim(), note: this.note.value };
  }

  clear() {
    this.selected.clear();
    this.onChange();
  }

  act(action) {
    const items = [...this.selected.values()].map((incident) => ({
      name: incident.run.name || incident.run_id,
      ids: [incident.id],
      change: () => actOnIncident(incident.id, action, this.values()),
    }));
    return this.attempt(items);
  }

  // Several incidents of one run, group or project are one silence.
  silence() {
    const byMatchers = new Map();
    for (const incident of this.selected.values()) {
      const text = JSON.stringify(scopeMatchers(this.scope.value, incident));
      byMatchers.set(text, [...(byMatchers.get(text) || []), incident.id]);
    }
    const items = [...byMatchers].map(([text, ids]) => {
      const matchers = JSON.parse(text);
      const change = () => createSilence(matchers, Number(this.hours.value), this.values());
      return { name: Object.values(matchers).join(" / "), ids, change };
    });
    return this.attempt(items);
  }

  // What was refused stays selected, with the reason beside it.
  async attempt(items) {
    if (!this.root.reportValidity()) return;
    saveAuthor(this.author.value.trim());
    const failures = [];
    setDisabled(this.root, true);
    for (const [index, { name, ids, change }] of items.entries()) {
      this.progress.textContent = `${index + 1} of ${items.length}`;
      try {
        await change();
        for (const id of ids) this.selected.delete(id);
      } catch (error) {
        failures.push(`${name}: ${error.message}`);
      }
    }
    this.progress.textContent = "";
    this.problem.textContent = failures.join(" ");
    setDisabled(this.root, false);
    if (!failures.length) this.note.value = "";
    this.onChange();
    refreshOpenAlerts();
  }
}
