// The scopes of keys, each in a sentence.

export const SCOPES = {
  ingest: "Uploads runs, and reads nothing: for training jobs.",
  read: "Views runs, alerts and projects, and tries thresholds on stored runs; changes nothing.",
  write: "Views like a read key, and acknowledges, resolves and silences alerts: for the people on call.",
  admin: "Does everything: also uploads, webhooks, keys, thresholds, retention, changing and deleting runs.",
};
