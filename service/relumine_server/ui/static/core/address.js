// The state of a page in its address: #/section/part?name=value. A link shows what its sender saw.

export function readAddress() {
  const [pathInHash, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = pathInHash.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(query) };
}

export function addressOf(parts, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.append(name, value);
  }
  const text = parameters.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

// Changes a part of the query without loading the page again; null removes a name.
export function changeQuery(changes) {
  const { parts, query } = readAddress();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  history.replaceState(null, "", addressOf(parts, Object.fromEntries(query)));
  window.dispatchEvent(new Event("querychange")); // a hash that is replaced causes no event of its own
}

export const runAddress = (runId, query = {}) => addressOf(["runs", runId], query);
export const layerAddress = (runId, layerId) => addressOf(["runs", runId, "layers", String(layerId)]);
export const alertAddress = (alertId) => addressOf(["alerts", alertId]);

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
