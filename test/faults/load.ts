/**
 * Steady load on a broker, and what its clients see of it. Each round of a lane is one executor's: a handle is asked
 * for, redeemed, and then redeemed once more under another id, which must not work.
 */
import { setTimeout } from "node:timers/promises";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import type { Failure } from "../../shared/failure.ts";

const lanes = 8;
/** Between two rounds of a lane, in milliseconds. */
const pause = 100;

interface Target {
  readonly url: string;
  readonly keys: readonly string[];
  readonly token: string;
  readonly uri: string;
  readonly value: string;
}

export type Load = Awaited<ReturnType<typeof startLoad>>;

export async function startLoad({ url, keys, token, uri, value }: Target) {
  const ending = new AbortController();
  /** @param idle how long it leaves an answer unread, in milliseconds. @param as whose token it sends. */
  const connect = async (idle = 0, as = token) =>
    createBrokerClient({
      url,
      async fetch(address, init) {
        const answer = await fetch(address, init);
        if (idle > 0) await setTimeout(idle);
        return answer;
      },
      findToken: () => as,
      pinnedKeys: keys,
      identity: await createIdentity(),
      keepHeads: async (heads) => {
        lastHeads = heads;
      },
      signal: ending.signal,
    });
  /** How often each code was seen; `ok` is a value. */
  const seen = new Map<string, number>();
  const acknowledged: string[] = [];
  const spentTwice: string[] = [];
  /** The signed heads of the log that came with the last value. */
  let lastHeads: readonly string[] = [];
  /** By `performance.now()`. */
  let lastSuccess = 0;
  let waiting: (() => void)[] = [];

  /** The slowest round that went well, in milliseconds. */
  let slowest = 0;

  const count = (code: string) => seen.set(code, (seen.get(code) ?? 0) + 1);

  async function round(client: Awaited<ReturnType<typeof connect>>): Promise<void> {
    const start = performance.now();
    const handles = await client.issue([{ uri }]);
    const [redeemed] = await client.redeem(handles, { masked: true });
    const jti = handles[0]!.claims.jti;
    if (Buffer.from(redeemed!.value.expose()).toString() !== value) throw new Error("another value");
    acknowledged.push(jti);
    lastSuccess = performance.now();
    slowest = Math.max(slowest, lastSuccess - start);
    for (const wake of waiting.splice(0)) wake();
    count("ok");
    const again = await client.redeem(handles, { masked: true }).then(
      () => true,
      () => false,
    );
    if (again) spentTwice.push(jti);
  }

  async function lane(): Promise<void> {
    const client = await connect();
    while (!ending.signal.aborted) {
      await round(client).catch((failure: Failure) => {
        if (!ending.signal.aborted) count(failure.code ?? String(failure));
      });
      await setTimeout(pause);
    }
  }

  const running = Array.from({ length: lanes }, lane);

  return {
    seen,
    acknowledged,
    spentTwice,
    connect,
    heads: () => lastHeads,

    /** From now on. */
    watch() {
      slowest = 0;
    },
    slowest: () => slowest,

    /** Resolves with the next value that is had. @returns how long that took, in milliseconds. */
    async recovered(): Promise<number> {
      const start = performance.now();
      await new Promise<void>((resolve) => {
        waiting = [...waiting, resolve];
      });
      return lastSuccess - start;
    },

    async stop(): Promise<void> {
      ending.abort();
      await Promise.all(running);
    },
  };
}
