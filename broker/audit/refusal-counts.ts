/**
 * Refusals that are counted, and not written one by one: of those whom nobody knows, and of those who ask more often
 * than they may. So what somebody without rights can make the log grow by is a few lines in each interval. A crash
 * takes along what was counted in the last one.
 */
import type { Summary, Unplaced } from "./record.ts";

/** In milliseconds. */
const defaultInterval = 60_000;

/** The codes and tenants are few, whoever asks: neither is anything that a client can make up. */
export type Refusal = Pick<Summary, "code" | "tenant">;

type Counted = Refusal & Pick<Summary, "count" | "since">;

export type RefusalCounts = ReturnType<typeof createRefusalCounts>;

/** @param write what puts lines into the log. */
export function createRefusalCounts(
  write: (lines: readonly Unplaced[]) => Promise<unknown>,
  interval = defaultInterval,
) {
  const counted = new Map<string, Counted>();
  const timer = setInterval(() => void flush().catch(() => {}), interval).unref();

  function add({ code, tenant, count, since }: Counted): void {
    const key = JSON.stringify([code, tenant]);
    const before = counted.get(key);
    counted.set(key, {
      code,
      ...(tenant !== undefined && { tenant }),
      count: count + (before?.count ?? 0),
      since: before && before.since < since ? before.since : since,
    });
  }

  async function flush(): Promise<void> {
    if (counted.size === 0) return;
    const taken = [...counted.values()];
    counted.clear();
    try {
      await write(taken.map((each) => ({ type: "summary", ...each })));
    } catch (cause) {
      for (const each of taken) add(each);
      throw cause;
    }
  }

  return {
    count: (refusal: Refusal): void => add({ ...refusal, count: 1, since: new Date().toISOString() }),

    /** Writes what is left. */
    async close(): Promise<void> {
      clearInterval(timer);
      await flush();
    },
  };
}
