/** The cached results in a folder, as this user may believe them. */
import { createSecretKey } from "node:crypto";
import { openKeptLayers } from "../executor/cache/kept-layers.ts";
import type { SharedResults } from "../executor/cache/shared-results.ts";
import { type CacheStore, openStore } from "../executor/cache/store.ts";
import { containerFolder, stateFolder } from "./environment.ts";
import { loadCacheKey } from "./root-key.ts";

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
  const key = await loadCacheKey(stateFolder(environment));
  const macKey = createSecretKey(key.expose());
  key.wipe();
  const onSpoilt = (spoilt: string) =>
    tell(`the cached result ${spoilt.slice(0, 12)} is not as it was kept; it is made again`);
  return openStore(folder, { macKey, onSpoilt });
}

export const openLayers = (environment: NodeJS.ProcessEnv) =>
  openKeptLayers(`${containerFolder(environment)}/layers`);

interface Repositories {
  readonly cacheFrom?: string;
  readonly cacheTo?: string;
}

/** Loaded where it is wanted alone. @throws {Failure} `usage`. */
export async function openShared(
  { cacheFrom, cacheTo }: Repositories,
  environment: NodeJS.ProcessEnv,
  tell: (line: string) => void,
): Promise<SharedResults | undefined> {
  if (cacheFrom === undefined && cacheTo === undefined) return undefined;
  const [{ openRepository }, { openSharedResults }] = await Promise.all([
    import("./repository.ts"),
    import("../executor/cache/shared-results.ts"),
  ]);
  const open = (reference: string | undefined) =>
    reference === undefined ? undefined : openRepository(reference, environment);
  return openSharedResults({ from: open(cacheFrom), to: open(cacheTo) }, tell);
}
