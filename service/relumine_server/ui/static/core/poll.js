// Live updates: requests are repeated while the page is visible, and one banner says when the server is away.

import { ApiError } from "./api.js";

const RETRY_MS = 5000;

// Calls step() repeatedly until the signal aborts; step returns the milliseconds to wait. Hidden pages do not poll, nor
// does one whose `pause` takes no update, after its first.
export async function poll(step, signal, pause = null) {
  const connection = document.getElementById("connection");
  let answeredAt = null;
  while (!signal.aborted) {
    let waitMs = RETRY_MS;
    try {
      if (!document.hidden && (answeredAt === null || !pause || pause.takesUpdate())) {
        waitMs = await step();
        answeredAt = new Date();
        showConnection(connection, "");
      }
    } catch (error) {
      if (signal.aborted) break;
      if (!isPassing(error)) throw error;
      showConnection(connection, awayText(error, answeredAt));
    }
    await wait(waitMs, signal);
  }
  connection.textContent = "";
}

// Returns true for an error that the next attempt may not have: the server is away, overloaded, or has failed.
export function isPassing(error) {
  return error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500);
}

// What is on the screen stays there, with its age, so that it is not mistaken for the present state.
function awayText(error, answeredAt) {
  const age = answeredAt ? ` This page shows the state of ${answeredAt.toLocaleTimeString("en-GB")}.` : "";
  return `${error.message} Trying again.${age}`;
}

// Screen readers announce every change of this line.
function showConnection(connection, text) {
  if (connection.textContent !== text) connection.textContent = text;
}

// Waits for ms milliseconds, or until the page becomes visible again or the signal aborts.
function wait(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(finish, ms);
    function finish() {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      document.removeEventListener("visibilitychange", onVisibilityChange);
      resolve();
    }
    function onVisibilityChange() {
      if (!document.hidden) finish();
    }
    signal.addEventListener("abort", finish);
    document.addEventListener("visibilitychange", onVisibilityChange);
  });
}
