/**
 * Standard output and error of this process, so that nothing that is written there gets lost in silence. Node.js writes
 * to a file without looking how much of it went in, and takes a reader that left for an error of ours.
 */
import { fstatSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import { isReaderGone } from "../../executor/output/delivery.ts";
import { Failure } from "../../shared/failure.ts";

/** A disk that is full takes a part of what is written, and says so the next time. */
function openFile(fd: number): Writable {
  return new Writable({
    decodeStrings: true,
    write(bytes: Buffer, _, done) {
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

const isFile = (fd: number): boolean => {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
};

/** @param report says that a failure ends this process. */
export function guardStandardStreams(report: (failure: Failure) => void): void {
  for (const [name, fd] of [
    ["stdout", 1],
    ["stderr", 2],
  ] as const) {
    if (isFile(fd)) Object.defineProperty(process, name, { value: openFile(fd), configurable: true });
    const stream = process[name];
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // Who forwards a container's output listens too. Nobody can be told that nobody can be told.
      if (stream.listenerCount("error") > 1 || name === "stderr") return;
      // As for any command in front of `| head -1`: it has printed what somebody wanted.
      if (!isReaderGone(error)) {
        report(new Failure("output_failed", { detail: `standard output (${error.code})`, cause: error }));
      }
      process.exit();
    });
  }
}

/** For a reader to take what is said at the end, in milliseconds. */
const lastWords = 1_000;

/** Ends this process though something waits to be written: that would keep it for as long as nobody reads. */
export const leaveUnread = (): void => void setTimeout(() => process.exit(), lastWords).unref();
