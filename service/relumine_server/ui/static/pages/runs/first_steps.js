// What the list shows before the first run: how to start one.

import { copyButton, el } from "../../core/elements.js";
import { readSession } from "../../core/session.js";

export function firstSteps() {
  const address = new URL(".", location.href).href.replace(/\/$/, "");
  const lines = [
    "import relumine",
    `monitor = relumine.watch(model, optimizer, project="digits", name="baseline", url="${address}")`,
    "...  # the training loop, unchanged",
    "monitor.close()",
  ];
  const code = el("pre", {}, lines.join("\n"));
  const note = el("p", { class: "quiet" }, "The run appears here with its first upload, seconds after the training has begun.");
  nameKey(note);
  return el(
    "section",
    { class: "notice" },
    el("p", {}, "There are no runs yet. Three lines in a training script start one:"),
    code,
    copyButton(lines.join("\n")),
    note,
  );
}

// A server with keys accepts uploads with a key only.
async function nameKey(note) {
  const session = await readSession().catch(() => ({ needed: false }));
  if (session.needed) note.append(" This server requires a key: set RELUMINE_API_KEY where the training runs.");
}
