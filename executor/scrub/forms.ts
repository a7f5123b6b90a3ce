// The spellings of a value that are searched besides the value itself.
//
// A value is handled as a "byte string" here: a string with one character, U+0000 to U+00FF, a byte.
// White space around a value does not count. A derived spelling shorter than 8 bytes is dropped: it would
// stand in innocent output too often. Spellings that come out the same are one pattern, so a token of
// letters and digits costs 8 to 10 of them.
//
// A pattern costs about 10 bytes of memory a byte, and a binary value has some 50 spellings with escapes, most of
// them longer than the value. So values over 64 KiB are searched without those: raw, by lines, base64 and hex.
//
// Base64 wrapped at 64 or 76 columns has no patterns of its own: wrap.ts makes the search see through the
// line breaks, wherever they fall inside the value.

import { jsonSpellings } from "./json.ts";
import { percent, percentSets } from "./percent.ts";

/** One way to spell a value. */
export interface Form {
  /** As in the README's table. */
  readonly name: string;
  /** The specification or the program whose rule this is. */
  readonly source: string;
  /** Also for values over `longestEscaped`. */
  readonly anySize?: true;
  /** All spellings of the value in this form, as byte strings; may repeat the value itself. */
  spell(value: string): string[];
}

/** Shortest derived spelling that is searched, in bytes. */
export const shortestDerived = 8;

/** Longest value that is searched with escapes, in bytes. */
export const longestEscaped = 64 << 10;

/** RFC 7468 section 2 and, with spaces, RFC 4716 section 3.1: public text that says nothing of the key. */
const armour = /^-----?-? ?(?:BEGIN|END) [A-Z0-9 ]+-?-----?$/;

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/**
 * The letters that `value` becomes inside a longer text, when `before` bytes (modulo 3) stand in front of it.
 * A letter that also carries bits of a neighbour is left out. If the text ends with the value, the last
 * letter carries zeros instead: `tail` is the spelling with that letter, without the padding.
 *
 *   before = 1   | x x x x x x x x|v v v v v v v v|v v v v v v v v|
 *   letters      |  mixed    |   mixed   |    v      |     v     |
 */
function base64Letters(value: string, before: number, lastTwo: string) {
  const letters = alphabet + lastTwo;
  const first = before === 0 ? 0 : before + 1;
  const bits = 8 * (before + value.length);
  const byteAt = (i: number) => (i < before || i >= before + value.length ? 0 : value.charCodeAt(i - before));
  let whole = "";
  const count = Math.floor(bits / 6);
  for (let k = first; k < count; k++) {
    const bit = 6 * k;
    const pair = (byteAt(bit >> 3) << 8) | byteAt((bit >> 3) + 1);
    whole += letters[(pair >> (10 - (bit & 7))) & 63];
  }
  const rest = bits % 6;
  if (rest === 0) return { whole, tail: whole, padding: "" };
  const last = (byteAt((6 * count) >> 3) << (rest === 2 ? 4 : 2)) & 63;
  return { whole, tail: whole + letters[last], padding: rest === 2 ? "==" : "=" };
}

function base64(value: string): string[] {
  return [0, 1, 2].flatMap((before) => {
    const { whole, tail, padding } = base64Letters(value, before, "+/");
    return [whole, tail + padding];
  });
}

/**
 * Only where it differs from base64: there it may also end without padding. (Were the unpadded end searched
 * for every value, it would take a letter of the text that follows.)
 */
function base64url(value: string): string[] {
  return [0, 1, 2].flatMap((before) => {
    const { whole, tail, padding } = base64Letters(value, before, "-_");
    return /[-_]/.test(tail) ? [whole, tail, tail + padding] : [];
  });
}

function hex(value: string): string[] {
  let lower = "";
  for (let i = 0; i < value.length; i++) lower += value.charCodeAt(i).toString(16).padStart(2, "0");
  return [lower, lower.toUpperCase()];
}

const asLines = (value: string) => value.split(/\r\n|\n|\r/);

function lineBreaks(value: string): string[] {
  const lines = asLines(value);
  return lines.length > 1 ? [lines.join("\n"), lines.join("\r\n")] : [];
}

function singleLines(value: string): string[] {
  const lines = asLines(value);
  return lines.length > 1 ? lines.map(trimSpace).filter((line) => !armour.test(line)) : [];
}

const ansiC: Record<string, string> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\x1b": "\\E",
  "'": "\\'",
  "\\": "\\\\",
};
const octal = (c: string) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`;

function ansiCQuoted(value: string): string[] {
  const inUtf8 = value.replace(/[\x00-\x1f'\\\x7f]/g, (c) => ansiC[c] ?? octal(c));
  const inAscii = inUtf8.replace(/[\x80-\xff]/g, octal);
  return [inUtf8, inAscii, inUtf8.replaceAll("\\E", "\\033"), inAscii.replaceAll("\\E", "\\033")];
}

function printfQ(value: string): string[] {
  // A control character makes bash use $'…' for the whole word.
  if (/[\x00-\x1f\x7f]/.test(value)) return [];
  const escaped = value.replace(/[ !"$&'()*,;<>?[\\\]^`{|}]/g, "\\$&");
  return [escaped, escaped.replace(/^[#~]/, "\\$&")];
}

const xmlQuotes: readonly (readonly [string, string])[] = [
  ['"', "'"],
  ["&quot;", "'"],
  ["&quot;", "&apos;"],
  ["&quot;", "&#39;"],
  ["&quot;", "&#x27;"],
  ["&#34;", "&#39;"],
];

function xml(value: string): string[] {
  const text = value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return xmlQuotes.map(([double, single]) => text.replaceAll('"', double).replaceAll("'", single));
}

/** Every derived form. The order is of no consequence. */
export const forms: readonly Form[] = [
  {
    name: "line breaks as LF and CRLF",
    source: "POSIX text files; RFC 5234 CRLF",
    anySize: true,
    spell: lineBreaks,
  },
  {
    name: "each line alone",
    source: "line-wise tools; armour as in RFC 7468",
    anySize: true,
    spell: singleLines,
  },
  { name: "base64", source: "RFC 4648 section 4", anySize: true, spell: base64 },
  { name: "base64url", source: "RFC 4648 section 5", anySize: true, spell: base64url },
  { name: "hex", source: "RFC 4648 section 8, both cases", anySize: true, spell: hex },
  {
    name: "percent-encoding",
    source: "RFC 3986 section 2.1; the safe sets are listed in percent.ts",
    spell: (value) => percentSets.flatMap((set) => percent(value, set)),
  },
  {
    name: "JSON string",
    source: "RFC 8259 section 7; the writers are listed in json.ts",
    spell: jsonSpellings,
  },
  {
    name: "shell '…'",
    source: "POSIX shell 2.2.2: '\\'' as bash -x prints, '\"'\"' as dash -x and Python's shlex.quote",
    spell: (value) => [value.replaceAll("'", "'\\''"), value.replaceAll("'", `'"'"'`)],
  },
  {
    name: 'shell "…"',
    source: "POSIX shell 2.2.3",
    spell: (value) => [value.replace(/[$`"\\]/g, "\\$&")],
  },
  { name: "shell $'…'", source: "bash: ANSI-C Quoting, as bash itself prints it", spell: ansiCQuoted },
  { name: "printf %q", source: "bash 5.2, tried character by character", spell: printfQ },
  {
    name: "XML text",
    source: "XML 1.0 section 2.4; the quotes as XML and HTML writers spell them",
    spell: xml,
  },
];

/** Without the white space around it: space, tab, LF, VT, FF, CR. */
export function trimSpace(value: string): string {
  return value.replace(/^[ \t-\r]+/, "").replace(/[ \t-\r]+$/, "");
}

/** The value (already trimmed) and all spellings of it that are searched, each once. */
export function spellings(value: string): Set<string> {
  const found = new Set([value]);
  for (const form of forms) {
    if (value.length > longestEscaped && !form.anySize) continue;
    for (const spelling of form.spell(value)) if (spelling.length >= shortestDerived) found.add(spelling);
  }
  return found;
}
