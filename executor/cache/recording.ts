/** What a command prints, kept while it is forwarded: after the scrubber, so that no value is in it. */
import type { ScrubStream } from "../scrub/scrubber.ts";

/** In bytes, of both streams together. Longer outputs pass as ever, and are not kept. */
export const sizeLimit = 64 * 1024 * 1024;

export type Recording = ReturnType<typeof createRecording>;

export function createRecording() {
  const kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let size = 0;

  return {
    /** A scrubber of which everything that it lets pass is kept. */
    of(scrub: ScrubStream, stream: keyof typeof kept): ScrubStream {
      const keep = (bytes: Uint8Array) => {
        size += bytes.length;
        // A copy: the scrubber's memory is used again.
        if (size <= sizeLimit) kept[stream].push(Buffer.from(bytes));
        return bytes;
      };
      return {
        push: (chunk) => keep(scrub.push(chunk)),
        flush: () => keep(scrub.flush()),
        end: () => keep(scrub.end()),
      };
    },

    /** Undefined where it was too much. */
    output: () =>
      size <= sizeLimit
        ? { stdout: Buffer.concat(kept.stdout), stderr: Buffer.concat(kept.stderr) }
        : undefined,
  };
}
