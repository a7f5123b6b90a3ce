// The spellings of a value that are searched besides the value itself.
//
// White space around a value does not count. Escapes, doubled characters and other white space have no spellings of
// their own: dressed.ts sees through them, for all spellings that are here. Spellings that come out the same are one pattern.
// Every array made here is either given out or wiped.
//
// A pattern costs about 10 bytes of memory a byte, so values over 64 KiB are searched raw, by lines, in base64 and in hex
// alone: not by their parts, and not in escapes or with other white space but line breaks.

import { canonicalSpellings } from "./canonical.ts";
import { dumps, numbers } from "./dumps.ts";
import { lineBreaks, linesOf, trimSpace } from "./lines.ts";
import { partsOf } from "./parts.ts";
import { respell, spelling } from "./respell.ts";
import { base64, base64url, hex } from "./rfc4648.ts";

/** One way to spell a value. */
export interface Form {
  /** As in docs/masking.md. */
  readonly name: string;
  /** The specification or the program whose rule this is. */
  readonly source: string;
  /** In bytes, of the values that have it. */
  readonly longest?: number;
  /** All spellings of the value in this form; may repeat each other and the value. */
  spell(value: Uint8Array): Uint8Array[];
}

/** Shortest derived spelling that is searched, in bytes. */
export const shortestDerived = 8;

/** Longest value that is searched in escapes and by its parts, in bytes. */
export const longestEscaped = 64 << 10;

const asShown = spelling({ "\n": "\r\n" });

/** Every derived form but the escapes. The order is of no consequence. */
export const forms: readonly Form[] = [
  { name: "base64", source: "RFC 4648 section 4", spell: base64 },
  { name: "base64url", source: "RFC 4648 section 5", spell: base64url },
  { name: "hex", source: "RFC 4648 section 8, both cases", spell: hex },
  { name: "hex dump", source: "od, xxd, hexdump, fingerprints", longest: 4096, spell: dumps },
  { name: "numbers", source: "JSON.stringify() of a Buffer", longest: 4096, spell: numbers },
];

/** The value (already trimmed) and all spellings of it that are searched, each once. */
export function spellings(value: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [value];
  const seen = new Map<number, Uint8Array[]>();
  const isNew = (spelled: Uint8Array) => {
    const key = hash(spelled);
    const same = seen.get(key);
    if (same?.some((known) => equal(known, spelled))) return false;
    if (same) same.push(spelled);
    else seen.set(key, [spelled]);
    return true;
  };
  isNew(value);
  const add = (spelled: Uint8Array, least: number) => {
    if (found.includes(spelled)) return;
    if (spelled.length >= least && isNew(spelled)) found.push(spelled);
    else spelled.fill(0);
  };

  const codes = (part: Uint8Array) => {
    for (const { longest, spell } of forms)
      if (part.length <= (longest ?? part.length))
        for (const spelled of spell(part)) add(spelled, shortestDerived);
  };
  codes(value);
  if (value.length > longestEscaped) {
    for (const spelled of [
      ...lineBreaks(value),
      ...linesOf(value).map((line) => new Uint8Array(trimSpace(line))),
    ])
      add(spelled, shortestDerived);
    const shown = respell(value, asShown);
    if (shown !== value) add(shown, shortestDerived);
    return found;
  }
  for (const spelled of canonicalSpellings(value)) add(spelled, 1);
  for (const part of partsOf(value)) {
    codes(part);
    for (const spelled of canonicalSpellings(part)) add(spelled, 1);
    add(part, 1);
  }
  return found;
}

/** FNV-1a, to compare few. */
function hash(bytes: Uint8Array): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) value = Math.imul(value ^ bytes[i]!, 0x01000193);
  return value;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
