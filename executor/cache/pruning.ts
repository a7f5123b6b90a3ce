/** What makes room: results that were not used for the longest time go, and then the layers that no result has. */
import type { KeptLayers } from "./kept-layers.ts";
import type { CacheStore, Stored } from "./store.ts";

interface Kept {
  readonly store: CacheStore;
  readonly layers: KeptLayers;
}

/**
 * @param limit of what stays, in bytes: results and their layers.
 * @returns the results that are gone.
 */
export async function prune({ store, layers }: Kept, limit: number): Promise<Stored[]> {
  const all = await store.list();
  const occupied = all.reduce((sum, { size }) => sum + size, await layers.total());
  if (limit > 0 && occupied <= limit) return [];
  const kept = new Set<string>();
  const removed: Stored[] = [];
  let total = 0;
  for (const stored of all) {
    const own = (await store.layersOf(stored.key)).filter((digest) => !kept.has(digest));
    const sizes = await Promise.all(own.map((digest) => layers.sizeOf(digest)));
    total += sizes.reduce((sum, size) => sum + size, stored.size);
    if (total <= limit) for (const digest of own) kept.add(digest);
    else removed.push(stored);
  }
  for (const { key } of removed) await store.remove(key);
  await layers.removeExcept(kept);
  return removed;
}
