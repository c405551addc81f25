// The line that says what went wrong with something that the reader did.

import { el } from "../core/elements.js";

// Returns {root, attempt}: attempt runs an asynchronous function, and shows the message of an error in root.
export function problemLine(signal) {
  const root = el("p", { class: "problem", role: "alert" });

  async function attempt(request) {
    root.textContent = "";
    try {
      await request();
    } catch (error) {
      if (!signal.aborted) root.textContent = error.message;
    }
  }

  return { root, attempt };
}
