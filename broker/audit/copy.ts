/** A copy of a log for whatever collects logs. It counts for nothing: a record is written when its sink has it. */
import type { Writable } from "node:stream";
import type { AuditSink } from "./sink.ts";

/** A sink whose lines go to a stream too, once they are durable. */
export function copied(sink: AuditSink, stream: Writable): AuditSink {
  // Whoever read it may be gone.
  stream.on("error", () => {});
  const copying = (write: (lines: string) => Promise<void>) => async (lines: string) => {
    await write(lines);
    stream.write(lines);
  };
  return { ...sink, append: copying(sink.append), begin: copying(sink.begin) };
}
