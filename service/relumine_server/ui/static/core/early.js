// Asks for what the first page needs before the router is there: its modules and its data then arrive together instead
// of one after the other. It imports little, so that it runs early.

import { readAddress } from "./address.js";
import { path, prefetch } from "./api.js";
import { pageName, preload } from "./page_modules.js";
import { runsAddress } from "./runs_address.js";

const DATA = {
  run: ([, id]) => [path("session"), path("runs", id, "overview")],
  layer: ([, id]) => [path("runs", id), path("runs", id, "layers")],
  runs: (_, query) => [path("session"), runsAddress(query)],
};

const { parts, query } = readAddress();
const name = pageName(parts);
for (const address of DATA[name]?.(parts, query) || []) prefetch(address);
preload(name);
