/**
 * A map whose entries are gone when their time has come. Every entry is in the bucket of the second in which it
 * expires, so that clearing up touches what has expired and nothing else.
 */
export function expiringMap<Value>() {
  const entries = new Map<string, { readonly value: Value; readonly expires: number }>();
  const buckets = new Map<number, string[]>();
  let swept = Math.floor(Date.now() / 1000);

  function sweep(): void {
    const now = Math.floor(Date.now() / 1000);
    // After a long silence there are fewer buckets than seconds.
    const due =
      now - swept > buckets.size
        ? [...buckets.keys()].filter((second) => second <= now)
        : Array.from({ length: Math.max(0, now - swept) }, (_, nth) => swept + nth + 1);
    swept = now;
    for (const second of due) {
      for (const key of buckets.get(second) ?? []) {
        const entry = entries.get(key);
        if (entry && entry.expires <= now) entries.delete(key);
      }
      buckets.delete(second);
    }
  }

  return {
    get(key: string): Value | undefined {
      const entry = entries.get(key);
      return entry && entry.expires > Date.now() / 1000 ? entry.value : undefined;
    },

    /** @param expires seconds since 1970. */
    set(key: string, value: Value, expires: number): void {
      sweep();
      entries.set(key, { value, expires });
      // One that has expired already goes with the next bucket that is due.
      const second = Math.max(Math.ceil(expires), swept + 1);
      const bucket = buckets.get(second);
      if (bucket) bucket.push(key);
      else buckets.set(second, [key]);
    },

    delete(key: string): void {
      entries.delete(key);
    },

    /** How many entries take up memory. */
    get size(): number {
      return entries.size;
    },
  };
}
