/**
 * What a source answered a moment ago. Values are kept only where the operator set a time for it, and sealed
 * (AES-256-GCM) under a key of this process, so that a look at the heap does not find them; failures are kept for
 * ten seconds, because asking for what is not there costs the source's quota too.
 */
import { randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { seal, unseal } from "../keys/seal.ts";
import type { ReadResult } from "../providers/provider.ts";

/** How long a failure is believed, in milliseconds. */
export const failureTime = 10_000;

/** Of one tenant's answers from one source. */
const maxBytes = 16 * 1024 * 1024;
/** Bytes that an entry takes besides its value and its key, roughly. */
const overhead = 256;

interface Entry {
  /** By `performance.now()`: when the source was asked. */
  readonly readAt: number;
  readonly known: ClaimcheckError | Uint8Array;
}

export type ValueCache = ReturnType<typeof createValueCache>;

/** @param valueTime how long a value is kept, in milliseconds; 0 keeps none. */
export function createValueCache(valueTime: number, maxSize = maxBytes) {
  const sealingKey = randomBytes(32);
  const entries = new LRUCache<string, Entry>({
    maxSize,
    sizeCalculation: ({ known }, key) =>
      overhead + 2 * key.length + (known instanceof Uint8Array ? known.length : 0),
    // Without a purge, what is out of date would stay in memory until something else needs the room.
    ttl: failureTime,
    ttlAutopurge: true,
  });

  return {
    /**
     * @param maxAge how old the answer may be, in milliseconds.
     * @returns a value that is the caller's to wipe, a failure, or nothing.
     */
    get(key: string, maxAge = Number.POSITIVE_INFINITY): ReadResult | undefined {
      const entry = entries.get(key);
      if (!entry) return undefined;
      const { known, readAt } = entry;
      const time = Math.min(maxAge, known instanceof ClaimcheckError ? failureTime : valueTime);
      if (performance.now() - readAt >= time) return undefined;
      return known instanceof ClaimcheckError ? known : unseal(sealingKey, key, known);
    },

    put(key: string, result: ReadResult, readAt: number): void {
      if (result instanceof Secret) {
        // A value ends what was said against it, also where it is not kept itself.
        if (valueTime > 0)
          entries.set(key, { readAt, known: seal(sealingKey, key, result) }, { ttl: valueTime });
        else entries.delete(key);
      } else entries.set(key, { readAt, known: result });
    },
  };
}
