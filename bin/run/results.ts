/** The cached results in a folder, as this user may believe them. */
import { createSecretKey } from "node:crypto";
import { type KeptLayers, openKeptLayers } from "../../executor/cache/kept-layers.ts";
import type { SharedResults } from "../../executor/cache/shared-results.ts";
import { type CacheStore, openStore } from "../../executor/cache/store.ts";
import { openLayerStore } from "../../executor/layers/layer-store.ts";
import { Failure } from "../../shared/failure.ts";
import { loadCacheKey } from "../host/key-files.ts";

/**
 * @param keyFolder not the one of the results, in which somebody else may have put or changed something.
 * @throws {Failure} `state_unusable`.
 */
export async function openResults(
  folder: string,
  keyFolder: string,
  tell: (line: string) => void,
): Promise<CacheStore> {
  const key = await loadCacheKey(keyFolder);
  const macKey = createSecretKey(key.expose());
  key.wipe();
  return openStore(folder, {
    macKey,
    onSpoilt: (spoilt, version) =>
      tell(
        version
          ? new Failure(version, {
              detail: `${spoilt.slice(0, 12)}; claimcheck cache prune removes it`,
            }).toString()
          : `the cached result ${spoilt.slice(0, 12)} is damaged; the step runs again`,
      ),
  });
}

/**
 * @param state the folder for what containers need.
 * @param environment of the programs that are started.
 */
export function openLayers(state: string, environment: Readonly<Record<string, string>>): KeptLayers {
  const folder = `${state}/layers`;
  const layers = openLayerStore(folder, { environment });
  return openKeptLayers(folder, {
    unpack: (digest) => layers.unpacked(digest, folder),
    receive: (archive, digest) => layers.receive(archive, digest, folder),
  });
}

interface Repositories {
  readonly cacheFrom?: string;
  readonly cacheTo?: string;
}

/** Loaded where it is wanted alone. @throws {Failure} `usage`. */
export async function openShared(
  { cacheFrom, cacheTo }: Repositories,
  layers: KeptLayers,
  environment: NodeJS.ProcessEnv,
  tell: (line: string) => void,
): Promise<SharedResults | undefined> {
  if (cacheFrom === undefined && cacheTo === undefined) return undefined;
  const [{ openRepository }, { openSharedResults }] = await Promise.all([
    import("./repository.ts"),
    import("../../executor/cache/shared-results.ts"),
  ]);
  const open = (reference: string | undefined) =>
    reference === undefined ? undefined : openRepository(reference, environment);
  return openSharedResults({ from: open(cacheFrom), to: open(cacheTo), layers }, tell);
}
