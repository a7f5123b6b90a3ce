/**
 * Whether a chain of audit lines is whole, from its first line to a checkpoint at its end. The log's own word is that
 * nothing before their end was changed; that nothing behind it was cut off, only a head that was kept elsewhere can say.
 */
import { type AuditHead, keyIdOf } from "../../shared/audit-head.ts";
import type { FindKey } from "../../shared/statement.ts";
import { readLines } from "./lines.ts";
import { BrokenChain, createChainReader, NewerChain } from "./reader.ts";
import { decodeLine } from "./record.ts";
import type { ChainEnd } from "./sink.ts";

export interface Verdict {
  /** How many lines are whole, in all parts; none where nothing is there, which says nothing. */
  readonly lines: number;
  /** How often an operator let the chain go on although lines were missing; see `accepted` in record.ts. */
  readonly losses: number;
  /** The first that is not; none where the chain is whole. */
  readonly broken?: {
    readonly part: string;
    /** From 1. */
    readonly line: number;
    /** Its number in the chain, where it has one. */
    readonly seq: number | undefined;
    readonly expected: string;
  };
  /** The first line that only a newer version of this program can read; the lines before it are whole, and those behind follow each other. */
  readonly newer?: { readonly part: string; readonly line: number; readonly why: string };
}

/** Some of a chain's lines, under a name for people. */
export interface ChainPart {
  readonly name: string;
  /** Without their line feeds; undefined for a last one that has none. */
  lines(): AsyncIterable<Uint8Array | undefined>;
}

export const filePart = (path: string): ChainPart => ({ name: path, lines: () => readLines(path) });

/**
 * @param parts in the order of the chain.
 * @param heads what signed heads of this chain say that it had once.
 * @throws what reading a part throws.
 */
export async function verifyChain(
  parts: readonly ChainPart[],
  findKey: FindKey,
  heads: readonly AuditHead[] = [],
): Promise<Verdict> {
  const reader = createChainReader(findKey);
  const sought = new Map(heads.map(({ hash, iat }) => [hash, iat]));
  let lines = 0;
  let losses = 0;
  let newer: Verdict["newer"];
  let part = parts[0] as ChainPart;
  let line = 0;
  try {
    for (part of parts) {
      line = 0;
      for await (const bytes of part.lines()) {
        line += 1;
        if (!bytes) throw new BrokenChain(undefined, "a line feed at the end of the line");
        if (newer) {
          reader.follow(bytes);
          continue;
        }
        const read = await reader.read(bytes).catch(expectNewer);
        if (read instanceof NewerChain) {
          newer = { part: part.name, line, why: read.message };
          continue;
        }
        const { seq, type } = read;
        expectBeginning(lines, seq);
        const end = reader.end() as ChainEnd;
        expectHeads(heads, end);
        sought.delete(end.hash);
        lines += 1;
        if (type === "accepted") losses += 1;
      }
    }
    if (newer) return { lines, losses, newer };
    line += 1;
    if (lines > 0 || heads.length > 0) expectEnd(heads, reader.end(), reader.sealed());
    expectAll(sought, reader.end());
  } catch (thrown) {
    if (!(thrown instanceof BrokenChain)) throw thrown;
    return { lines, losses, broken: { part: part.name, line, seq: thrown.seq, expected: thrown.message } };
  }
  return { lines, losses };
}

function expectNewer(thrown: unknown): NewerChain {
  if (thrown instanceof NewerChain) return thrown;
  throw thrown;
}

/** The key that the first checkpoint says it is signed by; undefined where there is none. */
export async function firstKeyId(parts: readonly ChainPart[]): Promise<string | undefined> {
  for (const part of parts) {
    for await (const bytes of part.lines()) {
      const line = bytes && decodeLine(bytes);
      if (line?.type === "checkpoint") return keyIdOf(line.head);
    }
  }
  return undefined;
}

/** @throws {BrokenChain} */
function expectBeginning(before: number, seq: number): void {
  if (before === 0 && seq !== 0) throw new BrokenChain(seq, "seq 0, the beginning of the chain");
}

/** @throws {BrokenChain} */
function expectHeads(heads: readonly AuditHead[], { chain, seq, hash }: ChainEnd): void {
  for (const head of heads) {
    if (head.chain !== chain) throw new BrokenChain(seq, `chain ${head.chain}, which the head is of`);
    if (head.seq === seq && head.hash !== hash) {
      throw new BrokenChain(seq, `a line with the hash ${head.hash}, which the head is of`);
    }
  }
}

/** @throws {BrokenChain} where a line is nowhere that a head is of. */
function expectAll(sought: ReadonlyMap<string, number>, end?: ChainEnd): void {
  for (const [hash, iat] of sought) {
    const time = new Date(iat * 1000).toISOString();
    throw new BrokenChain(
      (end?.seq ?? -1) + 1,
      `a line with the hash ${hash}, which the head of ${time} is of`,
    );
  }
}

/** @throws {BrokenChain} */
function expectEnd(heads: readonly AuditHead[], end?: ChainEnd, sealed?: ChainEnd): void {
  if (!end) throw new BrokenChain(0, "a chain line, as at the beginning of a file");
  const last = Math.max(...heads.flatMap(({ seq }) => seq ?? []));
  if (last > end.seq) throw new BrokenChain(end.seq + 1, `lines up to seq ${last}, which the head is of`);
  if (sealed?.seq !== end.seq)
    throw new BrokenChain(end.seq + 1, "a checkpoint, as at the end of every write");
}
