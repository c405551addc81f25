// Requests that change alerts: acknowledge and resolve, of one or of an incident, and silences.

import { path, post } from "../core/api.js";

export function actOnAlert(alertId, action, { author, note }) {
  return post(path("alerts", alertId, action), { author, note });
}

export function actOnIncident(incidentId, action, { author, note }) {
  return post(path("incidents", incidentId, action), { author, note });
}

export function createSilence(matchers, hours, { author, note }) {
  const endsAt = new Date(Date.now() + hours * 3600_000).toISOString();
  return post(path("silences"), { matchers, ends_at: endsAt, author, comment: note });
}

// The matchers for an alert, with its incident_id, or for an incident, with its id. Values match as globs, so their
// special characters are escaped.
export function scopeMatchers(scope, { id, incident_id: incidentId = id, run_id: runId, project, run, kind, layer }) {
  const scopes = {
    alert: { run_id: runId, kind, layer },
    incident: { incident_id: incidentId },
    run: { run_id: runId },
    group: run.group ? { project, group: run.group } : { run_id: runId },
    project: { project },
  };
  const present = Object.entries(scopes[scope]).filter(([, value]) => value);
  return Object.fromEntries(present.map(([name, value]) => [name, escapeGlob(value)]));
}

function escapeGlob(text) {
  return text.replaceAll(/[*?[]/g, "[$&]");
}
