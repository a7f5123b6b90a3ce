/**
 * Looking for entries in the files of a log. They have no index: a page reads some megabytes and then says where the
 * next one goes on, so that no request holds the broker up. A place is the number of a line and where in its file it
 * begins, which stays so when the file is rotated.
 */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as z from "zod/mini";
import { ClaimcheckError } from "../../shared/errors.ts";
import { readLines } from "./lines.ts";
import {
  type AuditFilter,
  type AuditPage,
  createPage,
  fits,
  type PageRequest,
  readCursor,
  writeCursor,
  wrongCursor,
} from "./query.ts";
import { decodeLine, newerForm, newerVersionOf } from "./record.ts";

/** How much one page reads, in bytes. */
const scanSize = 16 * 1024 * 1024;

const count = z.int().check(z.nonnegative());
const Place = z.tuple([count, count]);

/** The files that a log was rotated into, the oldest first, each with the number of its last line. */
export async function rotatedFiles(
  path: string,
): Promise<{ readonly path: string; readonly last: number }[]> {
  const name = basename(path);
  const found = (await readdir(dirname(path))).flatMap((other) => {
    const [, last] = (other.startsWith(name) && /^\.(\d{12,})$/.exec(other.slice(name.length))) || [];
    return last === undefined ? [] : [{ path: join(dirname(path), other), last: Number(last) }];
  });
  return found.sort((a, b) => a.last - b.last);
}

/**
 * @param size how much of the newest file is durable.
 * @throws {ClaimcheckError} `invalid_request` for a place that there is none of, `audit_unavailable` for a log that was
 * changed.
 */
export async function queryFiles(
  path: string,
  filter: AuditFilter,
  asked: PageRequest,
  size?: number,
): Promise<AuditPage> {
  let [seq, offset] = asked.after === undefined ? [0, 0] : readCursor(asked.after, Place);
  let budget = scanSize;
  const page = createPage(asked);
  const stop = (isLast: boolean): AuditPage => ({
    entries: page.entries,
    next: writeCursor([seq, offset]),
    isLast,
  });
  const { tenant } = filter;
  const mark = Buffer.from(tenant === undefined ? "" : `"tenant":${JSON.stringify(tenant)}`);

  for (;;) {
    const file = await fileWith(path, seq);
    const first = await firstOf(file);
    if (first === undefined) return stop(true);
    if (first > seq && file !== (await fileWith(path, seq))) continue; // It was rotated just now.
    // The place was the end of the file before, or the files up to here were taken away.
    if (first >= seq) [seq, offset] = [first, 0];

    const given = offset;
    for await (const bytes of readLines(file, offset, file === path ? size : undefined)) {
      if (!bytes) break; // It is just being written.
      if (budget <= 0) return stop(false);
      if (offset === given || bytes.includes(mark)) {
        const line = decodeLine(bytes);
        if (line?.seq !== seq) throw offset === given && given > 0 ? wrongCursor() : unreadable(bytes);
        if (fits(filter, line) && !page.add(line, bytes.length)) return stop(false);
      }
      seq += 1;
      offset += bytes.length + 1;
      budget -= bytes.length + 1;
    }
    if (file === path) return stop(true);
    offset = 0;
  }
}

/** How much before the end of the newest file is recent, in bytes. */
const recentSize = 1024 * 1024;

/** Where the recent lines of a log begin; undefined where all of them are. */
export async function recentPlace(path: string): Promise<string | undefined> {
  const { size } = await stat(path);
  const from = size - recentSize;
  if (from <= 0) return undefined;
  let offset: number | undefined;
  for await (const bytes of readLines(path, from)) {
    const line = offset !== undefined && bytes && decodeLine(bytes);
    if (line) return writeCursor([line.seq, offset as number]);
    // The first one is cut.
    offset = (offset ?? from) + (bytes?.length ?? 0) + 1;
  }
  return undefined;
}

/** The file that has this line, or the oldest one after it. */
async function fileWith(path: string, seq: number): Promise<string> {
  const rotated = await rotatedFiles(path);
  return rotated.find(({ last }) => last >= seq)?.path ?? path;
}

/** The number of a file's first line, if it has one. */
async function firstOf(path: string): Promise<number | undefined> {
  for await (const bytes of readLines(path)) {
    if (!bytes) return undefined;
    const line = decodeLine(bytes);
    if (!line) throw unreadable(bytes);
    return line.seq;
  }
  return undefined;
}

/** @param line that this program cannot read. */
function unreadable(line: Uint8Array): ClaimcheckError {
  const newer = newerVersionOf(line);
  const changed = "the log was changed; `claimcheck audit verify` says where";
  return new ClaimcheckError("audit_unavailable", {
    detail: newer === undefined ? changed : `${newerForm(newer)}; read it with that version`,
  });
}
