// The HTTP client of the dashboard. It uses the public API, v1, like any other client, below the prefix of this page.

const ROOT = new URL("../../../", import.meta.url); // this file is static/<build>/core/api.js

// The status is 0 where the server did not answer.
export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

// Returns the address of an API route; parts are escaped, and undefined, null and "" are left out of the query.
export function path(...parts) {
  return `${ROOT.pathname}v1/${parts.map(encodeURIComponent).join("/")}`;
}

export function withQuery(address, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== undefined && item !== null && item !== "") parameters.append(name, item);
    }
  }
  const text = parameters.toString();
  return text ? `${address}${address.includes("?") ? "&" : "?"}${text}` : address;
}

const ANSWER_WITHIN_MS = 30_000;

export async function get(address, { signal } = {}) {
  return read(address, { headers: { accept: "application/json" }, cache: "no-store", signal }, (response) => response.json());
}

export const post = (address, body) => send("POST", address, body);
export const patch = (address, body) => send("PATCH", address, body);
export const put = (address, body) => send("PUT", address, body);

async function send(method, address, body) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return request(address, { method, headers, body: JSON.stringify(body) }, (response) => response.json());
}

export async function remove(address) {
  await request(address, { method: "DELETE", headers: { accept: "application/json" } }, () => null);
}

// Returns a function like get() that sends the ETag of its last response; it returns null if nothing has changed.
export function conditionalGet() {
  let last = { address: "", etag: "" };
  return async (address, { signal } = {}) => {
    const headers = { accept: "application/json" };
    if (last.etag && last.address === address) headers["if-none-match"] = last.etag;
    return read(address, { headers, cache: "no-store", signal }, (response) => {
      if (response.status === 304) return null;
      last = { address, etag: response.headers.get("etag") || "" };
      return response.json();
    });
  };
}

// A server that takes a request and never answers is away like one that refuses it: without a limit the page would show
// old values and not say so.
async function read(address, { signal, ...options }, handle) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), ANSWER_WITHIN_MS);
  try {
    const either = signal ? AbortSignal.any([signal, limit.signal]) : limit.signal;
    return await request(address, { ...options, signal: either, prefetched: takePrefetched(address) }, handle);
  } catch (error) {
    if (limit.signal.aborted && !signal?.aborted) throw unreachable();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

// Sends a request and returns what handle() makes of the response.
async function request(address, options, handle) {
  let response;
  try {
    response = await (options.prefetched || fetch(address, options));
  } catch (error) {
    throw error instanceof TypeError ? unreachable() : error;
  }
  if (!response.ok && response.status !== 304) throw await toError(response);
  return handle(response);
}

const prefetched = new Map(); // by address: {response, at}
const PREFETCH_KEPT_MS = 10_000;

// Sends a GET before its reader is there; the next one to the same address gets its response.
export function prefetch(address) {
  const response = fetch(address, { headers: { accept: "application/json" }, cache: "no-store" });
  response.catch(() => {}); // the reader of the address gets the error
  prefetched.set(address, { response, at: performance.now() });
}

function takePrefetched(address) {
  const entry = prefetched.get(address);
  prefetched.delete(address);
  return entry && performance.now() - entry.at < PREFETCH_KEPT_MS ? entry.response : null;
}

function unreachable() {
  return new ApiError(0, "unreachable", "The server does not respond.");
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
