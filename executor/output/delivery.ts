/** Output on its last way: to somebody who reads it, may stop reading, or has no room for it. */
import type { Writable } from "node:stream";
import { Failure } from "../../shared/failure.ts";

/** What a write to a pipe or a connection fails with whose reader went away. All else is output that got lost. */
const leaving = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED", "ERR_STREAM_WRITE_AFTER_END"]);

export const isReaderGone = (error: unknown): boolean =>
  leaving.has(String((error as NodeJS.ErrnoException).code));

export type Delivery = ReturnType<typeof openDelivery>;

/**
 * @param name what people call the sink.
 * @param onBroken called when nothing more can be written.
 */
export function openDelivery(sink: Writable, name: string, onBroken: () => void = () => {}) {
  let error: Error | undefined;
  const onError = (thrown: Error) => {
    if (error) return;
    error = thrown;
    onBroken();
  };
  sink.on("error", onError);
  return {
    /** @param done called when they are written, or cannot be. */
    write(bytes: Uint8Array, done: () => void): void {
      if (bytes.length === 0 || error) {
        done();
        return;
      }
      sink.write(bytes, (thrown) => {
        if (thrown) onError(thrown);
        done();
      });
    },

    /**
     * After the last write.
     *
     * @returns whether all of it was taken.
     * @throws {Failure} `output_failed`, where it was lost and nobody has left.
     */
    close(): boolean {
      // A stream tells an error twice, and the second time a little later.
      setImmediate(() => sink.off("error", onError));
      if (error && !isReaderGone(error)) {
        const { code = "unknown" } = error as NodeJS.ErrnoException;
        throw new Failure("output_failed", { detail: `${name} (${code})`, cause: error });
      }
      return error === undefined;
    },
  };
}
