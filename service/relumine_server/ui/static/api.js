// The HTTP client of the dashboard. It uses the public API, /v1, like any other client.

export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

async function toError(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // a proxy may answer in another format than problem+json
  }
  const detail = problem.detail || problem.title || `The server answered ${response.status}.`;
  return new ApiError(response.status, problem.code || "unknown", detail);
}

export async function get(path, { signal } = {}) {
  const response = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store", signal });
  if (!response.ok) throw await toError(response);
  return response.json();
}

export const post = (path, body) => send("POST", path, body);
export const patch = (path, body) => send("PATCH", path, body);

async function send(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw await toError(response);
  return response.json();
}

export async function remove(path) {
  const response = await fetch(path, { method: "DELETE", headers: { accept: "application/json" } });
  if (!response.ok) throw await toError(response);
}

// Returns a function like get() that sends the ETag of its last response; it returns null if nothing has changed.
export function conditionalGet() {
  let last = { path: "", etag: "" };
  return async (path, { signal } = {}) => {
    const headers = { accept: "application/json" };
    if (last.etag && last.path === path) headers["if-none-match"] = last.etag;
    const response = await fetch(path, { headers, cache: "no-store", signal });
    if (response.status === 304) return null;
    if (!response.ok) throw await toError(response);
    last = { path, etag: response.headers.get("etag") || "" };
    return response.json();
  };
}

// Calls step() repeatedly until the signal aborts; step returns the milliseconds to wait. Hidden pages do not poll.
export async function poll(step, signal) {
  const connection = document.getElementById("connection");
  while (!signal.aborted) {
    let waitMs = 5000;
    try {
      if (!document.hidden) waitMs = await step();
      connection.textContent = "";
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error;
      connection.textContent = error instanceof ApiError ? error.message : "The server does not respond; trying again.";
      if (error instanceof ApiError && [401, 404].includes(error.status)) throw error;
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

export const path = (...parts) => `/v1/${parts.map(encodeURIComponent).join("/")}`;
