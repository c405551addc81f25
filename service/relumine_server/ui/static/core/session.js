// The session of this browser: whether the server requires a key, and what the current one may do. Several parts of a page
// need it at the same time; they share one request.

import { get, path, post, remove } from "./api.js";

const KEPT_MS = 5000;

let shared = null; // {response, requestedAt}

// Returns the session as the API describes it.
export function readSession() {
  if (shared && performance.now() - shared.requestedAt < KEPT_MS) return shared.response;
  const request = { response: get(path("session")), requestedAt: performance.now() };
  request.response.catch(() => forget(request));
  shared = request;
  return request.response;
}

export async function logIn(key) {
  shared = null;
  await post(path("session"), { key });
  shared = null; // others may have asked meanwhile
}

export async function logOut() {
  shared = null;
  await remove(path("session"));
  shared = null;
}

function forget(request) {
  if (shared === request) shared = null;
}
