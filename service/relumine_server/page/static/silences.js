// What nobody is told of, until when, and the way to end it.

import { get, path, remove } from "/static/api.js";
import { el, moment, table } from "/static/dom.js";

// The silences that still hold or are to come, as a table; null where there is none. onEnd is called after one was ended.
export async function silences(onEnd, { signal } = {}) {
  const page = await get(`${path("silences")}?limit=200`, { signal });
  const lasting = page.items.filter((one) => new Date(one.ends_at) > new Date());
  if (!lasting.length) return null;
  const about = (one) => Object.entries(one.matchers).map(([name, value]) => `${name} ${value}`).join(", ");
  const end = (one) => el("button", { type: "button", id: `end-${one.silence_id}`, click: () => remove(path("silences", one.silence_id)).then(onEnd, onEnd) }, "End it");
  return table("Nobody is told of alerts that match.", [
    { title: "Matches", cell: about },
    { title: "From", cell: (one) => moment(one.starts_at) },
    { title: "Until", cell: (one) => moment(one.ends_at) },
    { title: "Alerts", number: true, cell: (one) => String(one.matched) },
    { title: "By", cell: (one) => (one.comment ? `${one.author}: ${one.comment}` : one.author) },
    { title: "", cell: end },
  ], lasting);
}
