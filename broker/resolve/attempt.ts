/**
 * One read of a source, from the outside: it waits for its turn, asks again where the source says that this helps,
 * heeds the circuit, and ends at its time limit whatever the provider does.
 */
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { createSemaphore } from "../../shared/semaphore.ts";
import {
  type Provider,
  type ReadResult,
  type SecretReference,
  SourceFailure,
  sizeLimit,
} from "../providers/provider.ts";
import { createCircuit } from "./circuit.ts";

const timeLimit = 15_000;
const concurrency = 8;

const tries = 3;
/** Before the second try, in milliseconds; before the third it is twice as long. */
const firstPause = 250;
/** A source may ask for a day; the worst that its word can do is to cost a minute. In milliseconds. */
const longestRest = 60_000;
/** How long after its time limit a provider may still say what came of it. */
const grace = 1_000;

/** Reads that many references at once, and never throws. */
export type Reader = (references: readonly SecretReference[]) => Promise<readonly ReadResult[]>;

/**
 * For one tenant.
 *
 * @param onCircuit told when its circuit opens, and when it closes.
 */
export function createReader(
  provider: Provider,
  tenant: string,
  onCircuit?: (open: boolean) => void,
): Reader {
  const circuit = createCircuit(onCircuit);
  const turns = createSemaphore(provider.concurrency ?? concurrency);
  const limit = provider.timeLimit ?? timeLimit;

  return async (references) => {
    const ending = new AbortController();
    const end = performance.now() + limit;
    const timer = setTimeout(() => ending.abort(), limit);
    const results: ReadResult[] = [];
    try {
      if (await turns.acquire(ending.signal)) await readInto(results, references, ending.signal, end);
    } finally {
      clearTimeout(timer);
    }
    return references.map((_, index) => results[index] ?? new SourceFailure("provider_timeout"));
  };

  async function readInto(
    results: ReadResult[],
    references: readonly SecretReference[],
    signal: AbortSignal,
    end: number,
  ): Promise<void> {
    let open = [...references.keys()];
    try {
      for (let nth = 1; ; nth++) {
        const refusal = circuit.refusal();
        const read = refusal
          ? open.map(() => refusal)
          : await readOnce(
              open.map((index) => references[index] as SecretReference),
              signal,
            );
        for (const [at, index] of open.entries()) results[index] = read[at] as ReadResult;
        if (refusal) return;

        const passing = open.filter((index) => isPassing(results[index]));
        const pause = Math.max(...passing.map((index) => pauseBefore(results[index] as SourceFailure, nth)));
        const goesOn =
          passing.length > 0 && nth < tries && !signal.aborted && performance.now() + pause < end;
        if (!goesOn) return report(open.map((index) => results[index] as ReadResult));
        await sleep(pause, signal);
        open = passing;
      }
    } finally {
      turns.release();
    }
  }

  /** The source is well as long as it says something about one secret; a word about itself counts at once. */
  function report(results: readonly ReadResult[]): void {
    const failures = results.filter((result) => result instanceof SourceFailure);
    const waits = failures.flatMap(({ after }) => after ?? []);
    const [first] = failures;
    if (first && waits.length > 0) circuit.failed(first, Math.min(Math.max(...waits), longestRest));
    else if (first && failures.length === results.length) circuit.failed(first);
    else circuit.succeeded();
  }

  async function readOnce(
    references: readonly SecretReference[],
    signal: AbortSignal,
  ): Promise<readonly ReadResult[]> {
    const reading = provider.read(references, signal, tenant).then(
      (results) => references.map((_, nth) => bounded(results[nth])),
      (thrown: unknown) => references.map(() => asClaimcheckError(thrown)),
    );
    const given = await Promise.race([reading, over(signal)]);
    if (given) return given;
    // It did not heed the signal: what it brings later is nobody's.
    void reading.then((late) => {
      for (const result of late) if (result instanceof Secret) result.wipe();
    });
    return references.map(() => new SourceFailure("provider_timeout"));
  }
}

const isPassing = (result: ReadResult | undefined) => result instanceof SourceFailure && result.again;

/** The source's own word, or twice as long each time, and never the same for two brokers. */
function pauseBefore({ after }: SourceFailure, nth: number): number {
  return after ?? firstPause * 2 ** (nth - 1) * (0.5 + Math.random());
}

function bounded(result: ReadResult | undefined): ReadResult {
  if (!(result instanceof Secret)) return result ?? new ClaimcheckError("internal");
  if (result.expose().length <= sizeLimit) return result;
  result.wipe();
  return new ClaimcheckError("secret_too_large", { detail: `the limit is ${sizeLimit} bytes` });
}

/** Resolves after the time, or when the signal ends the wait. */
function sleep(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, time);
    signal.addEventListener("abort", done);
  });
}

/** Resolves a while after the signal. */
function over(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    const wait = () => setTimeout(() => resolve(undefined), grace).unref();
    if (signal.aborted) wait();
    else signal.addEventListener("abort", wait, { once: true });
  });
}
