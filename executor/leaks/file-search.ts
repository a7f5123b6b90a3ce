/** Searches one file, whose bytes come in pieces with holes between them. */
import type { Piece } from "../layers/tar-reader.ts";
import type { Finder } from "../scrub/scrubber.ts";

export interface Finding {
  /** Index of the value, as the scrubber counts them. */
  readonly value: number;
  /** Where it begins, counted from 1. */
  readonly line: number;
}

const newline = 0x0a;

/** @param reach in bytes; no hit is longer. */
export function createFileSearch(finder: Finder, reach: number) {
  /** Where in the file the next byte is expected. */
  let next = 0;
  /** How many bytes the finder has seen; of a long hole, it sees only what can be part of a hit at one of its ends. */
  let seen = 0;
  let line = 1;
  /** What was seen last, as far back as a hit can reach, and the line that each part begins in. */
  let recent: { start: number; line: number; bytes: Uint8Array }[] = [];

  function lineAt(position: number): number {
    const part = recent.findLast(({ start }) => start <= position) ?? recent[0];
    return part ? part.line + countLines(part.bytes.subarray(0, position - part.start)) : line;
  }

  function see(bytes: Uint8Array): Finding[] {
    recent = recent.filter(({ start, bytes: { length } }) => start + length > seen - reach);
    recent.push({ start: seen, line, bytes });
    const findings = finder.push(bytes).map(({ start, value }) => ({ value, line: lineAt(start) }));
    seen += bytes.length;
    line += countLines(bytes);
    return findings;
  }

  function passHole(to: number): Finding[] {
    const length = Math.min(to - next, 2 * reach);
    next = to;
    return length > 0 ? see(Buffer.alloc(length)) : [];
  }

  return {
    /** What ends in the piece, or in the hole before it. */
    push({ offset, bytes }: Piece): Finding[] {
      const found = passHole(offset);
      next += bytes.length;
      return [...found, ...see(bytes)];
    },

    /** @param size of the file, which may end in a hole. */
    end: (size: number): Finding[] => passHole(size),
  };
}

/** Without a branch, which a processor would guess wrong at every line. */
function countLines(bytes: Uint8Array): number {
  const { length } = bytes;
  let count = 0;
  for (let at = 0; at < length; at++) count += bytes[at] === newline ? 1 : 0;
  return count;
}
