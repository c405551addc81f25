// The page is an ordinary client of /v1. This module speaks HTTP and nothing else.

export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

async function failure(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // not every proxy in between answers in problem+json
  }
  const detail = problem.detail || problem.title || `The server answered ${response.status}.`;
  return new ApiError(response.status, problem.code || "unknown", detail);
}

export async function get(path, { signal } = {}) {
  const response = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store", signal });
  if (!response.ok) throw await failure(response);
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
  if (!response.ok) throw await failure(response);
  return response.json();
}

export async function remove(path) {
  const response = await fetch(path, { method: "DELETE", headers: { accept: "application/json" } });
  if (!response.ok) throw await failure(response);
}

// Asks again with the ETag of the last answer; null when nothing has changed.
export function conditional() {
  let known = { path: "", tag: "" };
  return async (path, { signal } = {}) => {
    const headers = { accept: "application/json" };
    if (known.tag && known.path === path) headers["if-none-match"] = known.tag;
    const response = await fetch(path, { headers, cache: "no-store", signal });
    if (response.status === 304) return null;
    if (!response.ok) throw await failure(response);
    known = { path, tag: response.headers.get("etag") || "" };
    return response.json();
  };
}

// Calls step() over and over; step answers how many milliseconds to wait. Hidden pages rest. Ends with the signal.
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
      connection.textContent = error instanceof ApiError ? error.message : "The server does not answer; trying again.";
      if (error instanceof ApiError && [401, 404].includes(error.status)) throw error;
    }
    await pause(waitMs, signal);
  }
  connection.textContent = "";
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      document.removeEventListener("visibilitychange", seen);
      resolve();
    }
    function seen() {
      if (!document.hidden) done();
    }
    signal.addEventListener("abort", done);
    document.addEventListener("visibilitychange", seen);
  });
}

export const path = (...parts) => `/v1/${parts.map(encodeURIComponent).join("/")}`;
