/** The cached results in a folder, as this user may believe them. */
import { createSecretKey } from "node:crypto";
import { join } from "node:path";
import { type CacheStore, openStore } from "../executor/cache/store.ts";
import { stateFolder } from "./environment.ts";
import { loadKey } from "./root-key.ts";

/**
 * The key lies with the root key, and not in the folder: what somebody else put there, or changed, is noticed.
 *
 * @throws {Failure} `state_unusable`.
 */
export async function openResults(
  folder: string,
  environment: NodeJS.ProcessEnv,
  tell: (line: string) => void,
): Promise<CacheStore> {
  const key = await loadKey(join(stateFolder(environment), "cache-key"));
  const macKey = createSecretKey(key.expose());
  key.wipe();
  const onSpoilt = (spoilt: string) =>
    tell(`the cached result ${spoilt.slice(0, 12)} is not as it was kept; it is made again`);
  return openStore(folder, { macKey, onSpoilt });
}
