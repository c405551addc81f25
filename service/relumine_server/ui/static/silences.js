// Silences: their matchers, start and end, and a button that ends each of them.

import { get, path, remove } from "/static/api.js";
import { el, moment, table } from "/static/dom.js";

// Returns a table of the silences that have not ended yet, or null without any. onEnd is called after one was deleted.
export async function silenceTable(onEnd, { signal } = {}) {
  const page = await get(`${path("silences")}?limit=200`, { signal });
  const silences = page.items.filter((silence) => new Date(silence.ends_at) > new Date());
  if (!silences.length) return null;
  const matchers = (silence) => Object.entries(silence.matchers).map(([name, value]) => `${name} ${value}`).join(", ");
  const endButton = (silence) => el("button", {
    type: "button", id: `end-${silence.silence_id}`, click: () => remove(path("silences", silence.silence_id)).then(onEnd, onEnd),
  }, "End now");
  return table("Matching alerts send no notifications.", [
    { title: "Matchers", cell: matchers },
    { title: "From", cell: (silence) => moment(silence.starts_at) },
    { title: "Until", cell: (silence) => moment(silence.ends_at) },
    { title: "Alerts", number: true, cell: (silence) => String(silence.matched) },
    { title: "By", cell: (silence) => (silence.comment ? `${silence.author}: ${silence.comment}` : silence.author) },
    { title: "", cell: endButton },
  ], silences);
}
