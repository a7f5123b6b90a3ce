/** The lines of a log's file. */
import { createReadStream } from "node:fs";

const lineFeed = 0x0a;

/**
 * Without their line feeds; undefined for a last one that has none.
 *
 * @param from where the first one begins, in bytes.
 * @param to what lies beyond is not there.
 */
export async function* readLines(
  path: string,
  from = 0,
  to = Number.POSITIVE_INFINITY,
): AsyncGenerator<Buffer | undefined> {
  if (from >= to) return;
  let begun: Buffer[] = [];
  for await (const chunk of createReadStream(path, { start: from, end: to - 1 }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, start)) {
      yield Buffer.concat([...begun, chunk.subarray(start, at)]);
      begun = [];
      start = at + 1;
    }
    if (start < chunk.length) begun.push(chunk.subarray(start));
  }
  if (begun.length > 0) yield undefined;
}
