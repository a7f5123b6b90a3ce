// The lines of a value, and the white space around it.

import { put } from "./respell.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Views of the lines, which end in CRLF, LF or CR. */
export function linesOf(value: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at < value.length; at++) {
    if (value[at] !== LF && value[at] !== CR) continue;
    lines.push(value.subarray(start, at));
    if (value[at] === CR && value[at + 1] === LF) at++;
    start = at + 1;
  }
  lines.push(value.subarray(start));
  return lines;
}

function join(lines: readonly Uint8Array[], lineBreak: string): Uint8Array {
  const size = lines.reduce((sum, line) => sum + line.length, lineBreak.length * (lines.length - 1));
  const out = new Uint8Array(size);
  let at = 0;
  for (const line of lines) {
    if (at > 0 || line !== lines[0]) at = put(out, at, lineBreak);
    out.set(line, at);
    at += line.length;
  }
  return out;
}

/** With each kind of line break. */
export function lineBreaks(value: Uint8Array): Uint8Array[] {
  const lines = linesOf(value);
  return lines.length > 1 ? [join(lines, "\n"), join(lines, "\r\n")] : [];
}

const marks = ["BEGIN ", "END "].map((mark) => new TextEncoder().encode(mark));

/** RFC 7468 section 2 and, with spaces, RFC 4716 section 3.1: public text that says nothing of the key. */
export function isArmour(line: Uint8Array): boolean {
  let from = 0;
  let to = line.length;
  while (line[from] === dash) from++;
  while (to > from && line[to - 1] === dash) to--;
  const dashes = [from, line.length - to];
  if (dashes.some((count) => count < 4 || count > 6)) return false;
  if (line[from] === space) from++;
  const mark = marks.find((bytes) => bytes.every((byte, i) => line[from + i] === byte));
  return mark !== undefined && from + mark.length < to && line.subarray(from, to).every(isLabel);
}

const dash = 0x2d;
const space = 0x20;
const isLabel = (byte: number) =>
  (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39) || byte === space;

/** A view without the white space around it: space, tab, LF, VT, FF, CR. */
export function trimSpace(value: Uint8Array): Uint8Array {
  let start = 0;
  let end = value.length;
  while (start < end && isSpace(value[start]!)) start++;
  while (end > start && isSpace(value[end - 1]!)) end--;
  return value.subarray(start, end);
}

const isSpace = (byte: number) => byte === space || (byte >= 0x09 && byte <= 0x0d);
