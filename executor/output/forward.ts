/** The way of a container's output: out of its pipe, through the scrubber, to whoever reads it. */
import type { Writable } from "node:stream";
import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";
import type { ShortSecrets } from "../plan/plan.ts";
import { createScrubber, type Scrubber, ScrubberError, type ScrubStream } from "../scrub/scrubber.ts";
import { openDelivery } from "./delivery.ts";
import type { OutputSource } from "./pipe.ts";

/**
 * The one scrubber of everything that an executor prints.
 *
 * @param credentials tokens and handles: worth as much as a secret to whoever reads them in a log.
 * @throws {Failure} `secret_too_short`, unless such secrets are to be shown.
 */
export function buildScrubber(
  secrets: readonly { readonly name: string; readonly value: Secret }[],
  credentials: readonly string[],
  shortValues: ShortSecrets,
): Scrubber {
  const values = secrets.map(({ value }) => value.expose());
  // Their letters are the same in a URL, in JSON and in a shell, so that other forms would only cost time.
  const literals = credentials.map((credential) => Buffer.from(credential));
  try {
    return createScrubber(values, { shortValues, literals });
  } catch (cause) {
    if (!(cause instanceof ScrubberError)) throw cause;
    const name = secrets[cause.index]?.name;
    throw new Failure("secret_too_short", {
      detail: `${name} has fewer than 4 bytes; see --short-secrets`,
      cause,
    });
  }
}

/** After this long without output, in milliseconds, somebody at a terminal sees the start of a prompt. */
const idleAfter = 100;

/** For `--no-masking`: everything passes as it is. */
export const unmasked: ScrubStream = {
  push: (chunk) => chunk,
  flush: () => new Uint8Array(0),
  end: () => new Uint8Array(0),
};

interface Way {
  /** What people call the sink. */
  readonly name: string;
  /** When nobody is waited for any more: what has not been taken by then is lost. */
  readonly cut?: AbortSignal | undefined;
}

/**
 * Forwards until the source ends, no faster than the sink takes it. When the sink's reader goes away the source is
 * stopped, so that the writer learns of it as it would without us.
 *
 * @returns whether the sink took it all.
 * @throws {Failure} `output_failed`, where the sink could not.
 */
export async function forward(
  source: OutputSource,
  scrub: ScrubStream,
  sink: Writable,
  { name, cut }: Way,
): Promise<boolean> {
  const isTerminal = (sink as { isTTY?: boolean }).isTTY === true;
  let idle: NodeJS.Timeout | undefined;
  const delivery = openDelivery(sink, name, source.stop);
  const late = new Promise<void>((resolve) => {
    if (cut?.aborted) resolve();
    cut?.addEventListener("abort", () => resolve(), { once: true });
  });
  const passing = source.read((chunk, release) => {
    clearTimeout(idle);
    delivery.write(scrub.push(chunk), release);
    if (isTerminal) idle = setTimeout(() => delivery.write(scrub.flush(), () => {}), idleAfter);
  });
  const passed = passing.then(() => {
    clearTimeout(idle);
    return new Promise<void>((done) => delivery.write(scrub.end(), done));
  });
  try {
    await Promise.race([passed, late]);
    if (cut?.aborted) source.stop();
  } finally {
    clearTimeout(idle);
    passed.catch(() => {});
  }
  return delivery.close() && !cut?.aborted;
}
