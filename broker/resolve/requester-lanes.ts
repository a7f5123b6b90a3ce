/**
 * The ways of a tenant's requesters to a source that each of them logs in to with a token of its own. Nothing is shared
 * between two principals, nor between two tokens of one: the source may know more about a token than its principal. What
 * nobody uses for a while is closed, and so is the oldest where there are too many; a read that is under way ends first.
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";

/** Of one tenant at one source. */
const most = 256;
/** In milliseconds. */
const idleTime = 5 * 60_000;

interface Closable {
  close(): Promise<void>;
}

export function createRequesterLanes<Lane extends Closable>(make: (token: string) => Lane) {
  const entries = new LRUCache<string, { readonly lane: Lane; users: number; gone: boolean }>({
    max: most,
    ttl: idleTime,
    ttlAutopurge: true,
    updateAgeOnGet: true,
    dispose(entry) {
      entry.gone = true;
      if (entry.users === 0) void entry.lane.close();
    },
  });

  return {
    async use<T>(principal: string, token: string, act: (lane: Lane) => Promise<T>): Promise<T> {
      const key = JSON.stringify([principal, createHash("sha256").update(token).digest("base64")]);
      let entry = entries.get(key);
      if (!entry) {
        entry = { lane: make(token), users: 0, gone: false };
        entries.set(key, entry);
      }
      entry.users++;
      try {
        return await act(entry.lane);
      } finally {
        entry.users--;
        if (entry.gone && entry.users === 0) void entry.lane.close();
      }
    },

    close: (): void => entries.clear(),
  };
}
