/**
 * Where a log file ends after whatever happened to its writer. A write ends with a checkpoint, and the next one waits
 * for its sync, so a crash leaves at most one write unfinished: what follows the last good checkpoint. Nobody was told
 * that it is there.
 */
import type { FileHandle } from "node:fs/promises";
import { readAuditHead } from "../../shared/audit-head.ts";
import type { FindKey } from "../../shared/statement.ts";
import { createChainReader, versionOf } from "./reader.ts";
import { decodeLine, hashLine, newerForm, newerVersionOf } from "./record.ts";
import { type ChainEnd, unavailable } from "./sink.ts";

const firstWindow = 16 * 1024;
const lineFeed = 0x0a;

interface Line {
  readonly bytes: Buffer;
  /** Where in the file the next one begins. */
  readonly after: number;
}

export interface FileEnd {
  readonly end: ChainEnd;
  /** How many bytes of the file are good. */
  readonly length: number;
  readonly rest: Buffer;
}

/** @throws {ClaimcheckError} `audit_unavailable` for a file that no crash of this broker leaves behind. */
export async function findEnd(file: FileHandle, size: number, findKey: FindKey): Promise<FileEnd> {
  await refuseNewer(file, size);
  for (let window = firstWindow; ; window *= 4) {
    const start = Math.max(0, size - window);
    const bytes = await readAll(file, start, size - start);
    const found = await readWindow(bytes, start, findKey);
    if (!found && start > 0) continue;
    if (!found) throw unavailable("this broker did not sign the log");
    const rest = bytes.subarray(found.length - start);
    for (const { bytes: line } of split(rest, 0)) {
      const head = checkpointOf(line)?.head;
      if (head && (await isSigned(head, findKey))) {
        throw unavailable("it was changed; `claimcheck audit verify` says where");
      }
    }
    return { ...found, rest };
  }
}

/** A file in a newer form says so in its first line. */
async function refuseNewer(file: FileHandle, size: number): Promise<void> {
  const bytes = await readAll(file, 0, Math.min(size, firstWindow));
  const newer = newerVersionOf(bytes.subarray(0, Math.max(0, bytes.indexOf(lineFeed))));
  if (newer !== undefined)
    throw unavailable(`${newerForm(newer)}; start that version, or give this one another log`);
}

/** @returns undefined where the window holds too little to tell. */
async function readWindow(
  bytes: Buffer,
  start: number,
  findKey: FindKey,
): Promise<Pick<FileEnd, "end" | "length"> | undefined> {
  let lines = split(bytes, start);
  let from: ChainEnd | undefined;
  let length = 0;
  if (start > 0) {
    // The first is cut by the window. Reading starts at a checkpoint that can be believed, and the last write has to
    // be read as a whole.
    lines = lines.slice(1);
    const anchor = await findAnchor(lines, findKey);
    if (!anchor) return undefined;
    lines = lines.slice(anchor.index + 1);
    if (!lines.some(({ bytes: line }) => checkpointOf(line))) return undefined;
    ({ from, length } = anchor);
  }
  const reader = createChainReader(findKey, from);
  try {
    for (const line of lines) {
      const { type } = await reader.read(line.bytes);
      if (type === "checkpoint") length = line.after;
    }
  } catch {
    // What follows the last good checkpoint is the caller's to judge.
  }
  const end = reader.sealed();
  return end && { end, length };
}

async function findAnchor(lines: readonly Line[], findKey: FindKey) {
  for (const [index, { bytes, after }] of lines.entries()) {
    const checkpoint = checkpointOf(bytes);
    const head = checkpoint && (await readAuditHead(checkpoint.head, findKey).catch(() => undefined));
    if (!checkpoint || head?.hash !== checkpoint.prev || head.seq !== checkpoint.seq - 1) continue;
    const { chain } = head;
    const from = { chain, seq: checkpoint.seq, hash: hashLine(bytes), version: versionOf(head) };
    return { index, from, length: after };
  }
  return undefined;
}

function checkpointOf(bytes: Uint8Array) {
  const line = decodeLine(bytes);
  return line?.type === "checkpoint" ? line : undefined;
}

const isSigned = (head: string, findKey: FindKey) =>
  readAuditHead(head, findKey).then(
    () => true,
    () => false,
  );

/** The lines that have their line feed. */
function split(bytes: Buffer, start: number): Line[] {
  const lines: Line[] = [];
  for (let from = 0; ; ) {
    const at = bytes.indexOf(lineFeed, from);
    if (at < 0) return lines;
    lines.push({ bytes: bytes.subarray(from, at), after: start + at + 1 });
    from = at + 1;
  }
}

async function readAll(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await file.read(bytes, read, length - read, position + read);
    if (bytesRead === 0) throw unavailable("it became shorter while it was read");
    read += bytesRead;
  }
  return bytes;
}
