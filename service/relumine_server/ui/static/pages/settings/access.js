// What the current key may do on the pages of settings.

import { ApiError, get, path, withQuery } from "../../core/api.js";
import { readSession } from "../../core/session.js";

// isOpen: the server requires no key. project: the only project that the key may see, null for all. Without a key the
// router shows the login.
export async function readAccess() {
  const session = await readSession();
  if (session.needed && !session.scope) throw new ApiError(401, "key_missing", "This server requires a key.");
  return {
    isOpen: !session.needed,
    scope: session.scope,
    project: session.project,
    keyId: session.key_id,
    canManage: !session.needed || session.scope === "admin",
  };
}

// Returns the names of projects, as suggestions for a field: none where they cannot be read.
export async function projectNames(signal) {
  try {
    const { items } = await get(withQuery(path("projects"), { limit: 200 }), { signal });
    return items.map(({ project }) => project);
  } catch {
    return [];
  }
}
