/**
 * A chain in a file that only its owner reads, and in the files that it was rotated into. A file is put in its place
 * by name when it already holds its chain line and a checkpoint, so none is ever without; the one before it keeps its
 * lines under the log's name with the number of its last line behind: `audit.jsonl.000000000811`.
 */
import { hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, open, realpath, rename, rm, stat, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { FindKey } from "../../shared/statement.ts";
import { lock } from "./lock.ts";
import { decodeLine } from "./record.ts";
import { findEnd } from "./recovery.ts";
import { queryFiles, rotatedFiles } from "./search-files.ts";
import { type AuditSink, type OpenedChain, unavailable } from "./sink.ts";

const appending = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT;

/** In bytes; from this size on a new file is begun. */
export const defaultFileSize = 256 * 1024 * 1024;

interface FileSinkSettings {
  /** The audit keys of this broker, those of the root key before the current one too. */
  readonly findKey: FindKey;
  readonly fileSize?: number;
}

interface OpenLog {
  /** Where it is, whatever links lead there. */
  readonly path: string;
  readonly file: FileHandle;
  readonly size: number;
}

/** A failed write or sync is final: what the disk has then is found out by whoever opens the file next. */
export function fileSink(path: string, { findKey, fileSize = defaultFileSize }: FileSinkSettings): AuditSink {
  let log: OpenLog | undefined;
  let failure: { readonly cause: unknown } | undefined;

  async function write(
    lines: string,
    into: (log: OpenLog, bytes: Buffer) => Promise<FileHandle>,
  ): Promise<void> {
    if (failure) throw failure.cause;
    try {
      const before = log as OpenLog;
      const bytes = Buffer.from(lines);
      const file = await into(before, bytes);
      log = { ...before, file, size: file === before.file ? before.size + bytes.length : bytes.length };
    } catch (cause) {
      failure = { cause };
      throw cause;
    }
  }

  return {
    async open(): Promise<OpenedChain> {
      if (failure) throw failure.cause;
      // Our own lock is in the way, too.
      await log?.file.close();
      log = undefined;
      const opened = await openLocked(path);
      const { file } = opened;
      try {
        const { size } = await file.stat();
        log = { ...opened, size };
        if (size === 0) return {};
        const { end, length, rest } = await findEnd(file, size, findKey);
        log = { ...opened, size: length };
        await removeLinks(log);
        if (rest.length === 0) return { end };
        return { end, recovered: await setAside(log, rest) };
      } catch (cause) {
        await file.close();
        log = undefined;
        throw cause;
      }
    },

    append: (lines) =>
      write(lines, async (before, bytes) => {
        await writeAll(before.file, bytes);
        // One after the other: a disk that stalls holds one thread of Node.js's few.
        await before.file.datasync();
        await expectInPlace(before, before.size + bytes.length);
        return before.file;
      }),

    begin: (lines) => write(lines, begin),

    isFull: () => log !== undefined && log.size >= fileSize,

    isLost: () => false,

    async check() {
      if (log) await expectInPlace(log, log.size);
    },

    query: (filter, page) => queryFiles(log?.path ?? path, filter, page, log?.size),

    async close(): Promise<void> {
      await log?.file.close();
    },
  };
}

/** Opens the file that has the name while it is locked: another one may get the name in between. */
async function openLocked(path: string): Promise<Pick<OpenLog, "path" | "file">> {
  for (;;) {
    const file = await open(path, appending, 0o600);
    try {
      if (!(await file.stat()).isFile()) throw unavailable("it is not a regular file");
      if (!(await lock(file))) throw unavailable("another process is writing it");
      const real = await realpath(path);
      if (await isNamed(file, real)) return { path: real, file };
    } catch (cause) {
      await file.close();
      throw cause;
    }
    await file.close();
  }
}

async function isNamed(file: FileHandle, path: string): Promise<boolean> {
  const [own, named] = await Promise.all([file.stat(), stat(path).catch(() => undefined)]);
  return own.dev === named?.dev && own.ino === named.ino;
}

/** What is written to a file that lost its name would be gone with this process, and what was cut off is gone. */
async function expectInPlace({ file, path }: OpenLog, size: number): Promise<void> {
  if (!(await isNamed(file, path))) throw unavailable("the file was moved or deleted");
  if ((await file.stat()).size !== size) {
    throw unavailable("somebody else wrote to the file or cut it; `claimcheck audit verify` says where");
  }
}

/** Puts a new file in the place of this one, which keeps its lines under another name if it has any. */
async function begin(before: OpenLog, bytes: Buffer): Promise<FileHandle> {
  const { path, file, size } = before;
  const draft = `${path}.new`;
  await rm(draft, { force: true });
  const next = await open(draft, appending | constants.O_EXCL, 0o600);
  if (!(await lock(next))) throw unavailable(`another process is writing ${basename(draft)}`);
  await writeAll(next, bytes);
  await next.sync();
  await expectInPlace(before, size);
  if (size > 0) await link(path, `${path}.${lastBefore(bytes)}`);
  await rename(draft, path);
  await syncFolder(path);
  await file.close();
  return next;
}

/** The number of the line before these, with as many digits as sort well. */
function lastBefore(lines: Buffer): string {
  const { seq = 0 } = decodeLine(lines.subarray(0, lines.indexOf("\n"))) ?? {};
  return String(seq - 1).padStart(12, "0");
}

/** A crash between the two steps of a rotation leaves a second name for the log. */
async function removeLinks({ path, file }: OpenLog): Promise<void> {
  if ((await file.stat()).nlink === 1) return;
  for (const { path: other } of await rotatedFiles(path)) {
    if (await isNamed(file, other)) await unlink(other);
  }
}

/** Moves what follows the good lines into a file of its own. */
async function setAside(
  { path, file, size }: OpenLog,
  rest: Buffer,
): Promise<NonNullable<OpenedChain["recovered"]>> {
  const aside = `${path}.torn-${size}-${Date.now()}`;
  const copy = await open(aside, "wx", 0o600);
  try {
    await writeAll(copy, rest);
    await copy.sync();
  } finally {
    await copy.close();
  }
  await syncFolder(path);
  await file.truncate(size);
  await file.sync();
  return { bytes: rest.length, sha256: hash("sha256", rest, "base64url"), aside: basename(aside) };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written);
    written += bytesWritten;
  }
}

/** A name is durable when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
