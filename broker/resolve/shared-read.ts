/**
 * What is around every provider, once: askers for the same secret share one read, what arrives together goes out
 * together, and what was answered a moment ago is not asked again. Each tenant has all of this for itself, its circuit
 * and its turns too: what one tenant asks for can neither close a source for another nor make it wait. There are as many
 * as the policy has tenants. Where a source is read with the requester's own token, each token has all of it for itself.
 */
import { ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import {
  type Provider,
  type ReadResult,
  type SecretReference,
  SourceFailure,
} from "../providers/provider.ts";
import { createReader } from "./attempt.ts";
import { createRequesterLanes } from "./requester-lanes.ts";
import type { Requester, Source } from "./source.ts";
import { createValueCache } from "./value-cache.ts";

/** A read that has been asked for and is not over. */
interface Flight {
  readonly key: string;
  readonly reference: SecretReference;
  readonly result: Promise<ReadResult>;
  readonly settle: (result: ReadResult) => void;
  /** By `performance.now()`; not set while it waits for others to go out with. */
  startedAt: number | undefined;
  /** How many want the result: the last one gets the value itself, the others copies. */
  askers: number;
}

/** Told what happens; for counting. */
export interface Observer {
  /** A source was asked for a secret. */
  read(source: Source, result: ReadResult): void;
  /** It was not, because what it would say is remembered. */
  hit(source: Source, result: ReadResult): void;
  /** For how many tenants a source's circuit is open now. */
  circuit(source: Source, open: number): void;
}

export type SharedRead = ReturnType<typeof createSharedRead>;

/** @param valueTime how long a value that was read may be used again, in milliseconds. */
export function createSharedRead(source: Source, valueTime: number, observer?: Observer) {
  const lanes = new Map<string, Lane>();
  let openCircuits = 0;
  observer?.circuit(source, openCircuits);
  const onCircuit = (open: boolean) => {
    openCircuits += open ? 1 : -1;
    observer?.circuit(source, openCircuits);
  };
  const requesters = new Map<string, ReturnType<typeof createRequesterLanes<Lane>>>();
  const requestersOf = (tenant: string) => {
    // What a requester's token meets says little about the source, so nobody else hears of it.
    const made =
      requesters.get(tenant) ??
      createRequesterLanes((token) =>
        createLane(source, tenant, source.open(tenant, token), {
          valueTime,
          maxBytes: requesterBytes,
          observer,
        }),
      );
    requesters.set(tenant, made);
    return made;
  };
  const laneOf = (tenant: string): Lane => {
    const lane =
      lanes.get(tenant) ??
      createLane(source, tenant, source.open(tenant), { valueTime, observer, onCircuit });
    lanes.set(tenant, lane);
    return lane;
  };

  return {
    source,

    /** What this tenant reads with. */
    providerOf: (tenant: string): Provider => laneOf(tenant).provider,

    /** For how many tenants nobody asks it now. */
    openCircuits: () => openCircuits,

    /**
     * @param maxAge how long ago it may have been read, in milliseconds; as long as it is kept where it is missing.
     * @param requester needed where the source is read with the requester's own token.
     * @returns a value that is the caller's to wipe, or a coded error; it never throws.
     */
    async read(
      tenant: string,
      reference: SecretReference,
      maxAge?: number,
      requester?: Requester,
    ): Promise<ReadResult> {
      if (!source.byRequester) return laneOf(tenant).read(reference, maxAge);
      const { name = source.scheme } = source;
      const token = requester?.tokens.get(name);
      if (!requester || token === undefined) return tokenMissing(name);
      return requestersOf(tenant).use(requester.principal, token, (lane) => lane.read(reference, maxAge));
    },

    async close(): Promise<void> {
      // Several tenants may share one where sources have no names.
      const providers = new Set([...lanes.values()].map(({ provider }) => provider));
      if (source.name === undefined) providers.add(source.open(""));
      for (const each of requesters.values()) each.close();
      await Promise.all([...providers].map((provider) => provider.close?.()));
      observer?.circuit(source, 0);
    },
  };
}

/** What is remembered for one requester's token. There may be many, and together they have what a tenant has elsewhere. */
const requesterBytes = 64 * 1024;

const tokenMissing = (name: string) =>
  new ClaimcheckError("provider_denied", {
    detail: `the source ${name} is read with your own token for it: send one, as by CLAIMCHECK_SOURCE_TOKENS=${name}=env://VARIABLE`,
  });

type Lane = ReturnType<typeof createLane>;

interface LaneSettings {
  readonly valueTime: number;
  readonly maxBytes?: number;
  readonly observer?: Observer | undefined;
  readonly onCircuit?: (open: boolean) => void;
}

/** One tenant's way to a source, or that of one token of a requester. */
function createLane(
  source: Source,
  tenant: string,
  provider: Provider,
  { valueTime, maxBytes, observer, onCircuit }: LaneSettings,
) {
  const read = createReader(provider, tenant, onCircuit);
  const cache = createValueCache(valueTime, maxBytes);
  const flights = new Map<string, Flight>();
  let waiting: Flight[] = [];

  return {
    provider,

    close: async () => provider.close?.(),

    async read(reference: SecretReference, maxAge?: number): Promise<ReadResult> {
      const key = reference.canonical;
      const known = cache.get(key, maxAge);
      if (known) {
        observer?.hit(source, known);
        return known;
      }
      const underWay = flights.get(key);
      const flight = underWay && isYoungEnough(underWay, maxAge) ? underWay : depart(key, reference);
      flight.askers++;
      const result = await flight.result;
      flight.askers--;
      if (!(result instanceof Secret) || flight.askers === 0) return result;
      return new Secret(Uint8Array.from(result.expose()));
    },
  };

  function depart(key: string, reference: SecretReference): Flight {
    const { promise, resolve } = promiseOf<ReadResult>();
    const flight = { key, reference, result: promise, settle: resolve, startedAt: undefined, askers: 0 };
    flights.set(key, flight);
    // Whatever else arrives in this turn of the event loop, from this request or another, goes out with it.
    if (waiting.length === 0) setImmediate(flush);
    waiting.push(flight);
    return flight;
  }

  function flush(): void {
    const ready = waiting;
    waiting = [];
    const size = provider.batchSize ?? ready.length;
    for (let at = 0; at < ready.length; at += size) void fly(ready.slice(at, at + size));
  }

  async function fly(batch: readonly Flight[]): Promise<void> {
    const startedAt = performance.now();
    for (const flight of batch) flight.startedAt = startedAt;
    const results = await read(batch.map(({ reference }) => reference));
    for (const [nth, flight] of batch.entries()) {
      const result = named(results[nth] as ReadResult, source);
      observer?.read(source, result);
      if (flights.get(flight.key) === flight) flights.delete(flight.key);
      if (isAnswer(result)) cache.put(flight.key, result, startedAt);
      flight.settle(result);
    }
  }
}

/** What is wrong with a source is for its operator to mend, who knows it by its name. */
function named(result: ReadResult, { name }: Source): ReadResult {
  if (name === undefined || !(result instanceof SourceFailure) || result.detail?.includes(`source ${name}`))
    return result;
  const { code, again, after, cause } = result;
  const detail = `the source ${name}${result.detail === undefined ? "" : `: ${result.detail}`}`;
  return new SourceFailure(code, { detail, again, after, cause });
}

/** Who wants a secret read again is not content with a read that began before. */
function isYoungEnough({ startedAt }: Flight, maxAge: number | undefined): boolean {
  return startedAt === undefined || maxAge === undefined || performance.now() - startedAt < maxAge;
}

/** What the source says about a secret can be remembered; that it is out of order, or that we are, cannot. */
function isAnswer(result: ReadResult): boolean {
  if (result instanceof Secret) return true;
  return !(result instanceof SourceFailure) && !passing.has(result.code);
}

const passing = new Set<ErrorCode>(["internal", "provider_timeout"]);

function promiseOf<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
