// The HTTP client of the dashboard. It uses the public API, v1, like any other client, below the prefix of this page.

const ROOT = new URL("../../../", import.meta.url); // this file is static/<build>/core/api.js

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
  return text ? `${address}?${text}` : address;
}

export async function get(address, { signal } = {}) {
  const response = await fetch(address, { headers: { accept: "application/json" }, cache: "no-store", signal });
  if (!response.ok) throw await toError(response);
  return response.json();
}

export const post = (address, body) => send("POST", address, body);
export const patch = (address, body) => send("PATCH", address, body);
export const put = (address, body) => send("PUT", address, body);

async function send(method, address, body) {
  const response = await fetch(address, {
    method,
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw await toError(response);
  return response.json();
}

export async function remove(address) {
  const response = await fetch(address, { method: "DELETE", headers: { accept: "application/json" } });
  if (!response.ok) throw await toError(response);
}

// Returns a function like get() that sends the ETag of its last response; it returns null if nothing has changed.
export function conditionalGet() {
  let last = { address: "", etag: "" };
  return async (address, { signal } = {}) => {
    const headers = { accept: "application/json" };
    if (last.etag && last.address === address) headers["if-none-match"] = last.etag;
    const response = await fetch(address, { headers, cache: "no-store", signal });
    if (response.status === 304) return null;
    if (!response.ok) throw await toError(response);
    last = { address, etag: response.headers.get("etag") || "" };
    return response.json();
  };
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
