// The request of the list of runs, as the page of runs sends it and as it is sent ahead of that page.

import { path, withQuery } from "./api.js";

export const PAGE_SIZE = 100;
export const FILTERS = ["project", "group", "tag", "status", "health", "q", "sort"];

// counterFilters are those of the counter that is pressed.
export function runsAddress(query, counterFilters = {}) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name)]));
  return withQuery(path("runs"), { ...filters, ...counterFilters, limit: PAGE_SIZE });
}
