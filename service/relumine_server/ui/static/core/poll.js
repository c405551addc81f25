// Live updates: requests are repeated while the page is visible, and one banner says when the server is away.

import { ApiError } from "./api.js";

const RETRY_MS = 5000;

// Calls step() repeatedly until the signal aborts; step returns the milliseconds to wait. Hidden pages do not poll.
export async function poll(step, signal) {
  const connection = document.getElementById("connection");
  while (!signal.aborted) {
    let waitMs = RETRY_MS;
    try {
      if (!document.hidden) waitMs = await step();
      connection.textContent = "";
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error;
      connection.textContent = error instanceof ApiError ? error.message : "The server does not respond; trying again.";
    }
    await pause(waitMs, signal);
  }
  connection.textContent = "";
}

// Waits for ms milliseconds, or until the page becomes visible again or the signal aborts.
function pause(ms, signal) {
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
