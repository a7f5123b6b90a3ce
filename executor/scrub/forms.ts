// The spellings of a value that are searched besides the value itself.
//
// White space around a value does not count. A derived spelling shorter than 8 bytes is dropped: it would
// stand in innocent output too often. Spellings that come out the same are one pattern, so a token of
// letters and digits costs 8 to 10 of them. Every array made here is either given out or wiped.
//
// A terminal puts a CR before each LF that it shows (ONLCR, termios(3)). So the value and its spellings are also
// searched that way, which is a difference only where they have line breaks.
//
// A pattern costs about 10 bytes of memory a byte, and a binary value has some 50 spellings with escapes, most of
// them longer than the value. So values over 64 KiB are searched without those: raw, by lines, base64 and hex.
//
// Base64 wrapped at 64 or 76 columns has no patterns of its own: wrap.ts makes the search see through the
// line breaks, wherever they fall inside the value.

import { jsonSpellings } from "./json.ts";
import { lineBreaks, singleLines } from "./lines.ts";
import { percentSpellings } from "./percent.ts";
import { put, range, respell, spelling } from "./respell.ts";
import { base64, base64url, hex } from "./rfc4648.ts";

/** One way to spell a value. */
export interface Form {
  /** As in the README's table. */
  readonly name: string;
  /** The specification or the program whose rule this is. */
  readonly source: string;
  /** Also for values over `longestEscaped`. */
  readonly anySize?: true;
  /** All spellings of the value in this form; may repeat each other and the value, also as the same array. */
  spell(value: Uint8Array): Uint8Array[];
}

/** Shortest derived spelling that is searched, in bytes. */
export const shortestDerived = 8;

/** Longest value that is searched with escapes, in bytes. */
export const longestEscaped = 64 << 10;

const octal = (byte: number) => `\\${byte.toString(8).padStart(3, "0")}`;
const ansiC = [
  range(0, 0x1f, octal),
  {
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
    "\x7f": "\\177",
  },
];
const inAscii = range(0x80, 0xff, octal);
const octalEscape = { "\x1b": "\\033" };
const ansiCSpellings = [
  spelling(...ansiC),
  spelling(...ansiC, inAscii),
  spelling(...ansiC, octalEscape),
  spelling(...ansiC, inAscii, octalEscape),
];

const backslashed = (characters: string) =>
  spelling(Object.fromEntries(Array.from(characters, (c) => [c, `\\${c}`])));
const printfQEscapes = backslashed(" !\"$&'()*,;<>?[\\]^`{|}");
const firstEscapes = backslashed("#~");

function printfQ(value: Uint8Array): Uint8Array[] {
  // A control character makes bash use $'…' for the whole word.
  if (value.some((byte) => byte < 0x20 || byte === 0x7f)) return [];
  const escaped = respell(value, printfQEscapes);
  const first = firstEscapes[value[0]!];
  if (first === undefined) return [escaped];
  const both = new Uint8Array(escaped.length + 1);
  both.set(escaped.subarray(1), put(both, 0, first));
  return [escaped, both];
}

const xmlText = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
const xmlSpellings = [
  {},
  { '"': "&quot;" },
  { '"': "&quot;", "'": "&apos;" },
  { '"': "&quot;", "'": "&#39;" },
  { '"': "&quot;", "'": "&#x27;" },
  { '"': "&#34;", "'": "&#39;" },
].map((quotes) => spelling(xmlText, quotes));

const posixQuotes = [spelling({ "'": "'\\''" }), spelling({ "'": `'"'"'` })];
const doubleQuotes = backslashed('$`"\\');

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
  {
    name: "hex",
    source: "RFC 4648 section 8, both cases",
    anySize: true,
    spell: hex,
  },
  {
    name: "percent-encoding",
    source: "RFC 3986 section 2.1; the safe sets are listed in percent.ts",
    spell: percentSpellings,
  },
  {
    name: "JSON string",
    source: "RFC 8259 section 7; the writers are listed in json.ts",
    spell: jsonSpellings,
  },
  {
    name: "shell '…'",
    source: "POSIX shell 2.2.2: '\\'' as bash -x prints, '\"'\"' as dash -x and Python's shlex.quote",
    spell: (value) => posixQuotes.map((table) => respell(value, table)),
  },
  {
    name: 'shell "…"',
    source: "POSIX shell 2.2.3",
    spell: (value) => [respell(value, doubleQuotes)],
  },
  {
    name: "shell $'…'",
    source: "bash: ANSI-C Quoting, as bash itself prints it",
    spell: (value) => ansiCSpellings.map((table) => respell(value, table)),
  },
  { name: "printf %q", source: "bash 5.2, tried character by character", spell: printfQ },
  {
    name: "XML text",
    source: "XML 1.0 section 2.4; the quotes as XML and HTML writers spell them",
    spell: (value) => xmlSpellings.map((table) => respell(value, table)),
  },
];

const asShown = spelling({ "\n": "\r\n" });

/** The value (already trimmed) and all spellings of it that are searched, each once. */
export function spellings(value: Uint8Array): Uint8Array[] {
  const applied = forms.filter(({ anySize }) => anySize || value.length <= longestEscaped);
  const derived = applied.flatMap((form) => form.spell(value));
  const shown = derived.map((spelled) => respell(spelled, asShown));
  const found = [...new Set([value, respell(value, asShown)])];
  // The sets, because an array that is wiped below must not come again.
  for (const spelled of new Set([...derived, ...shown])) {
    if (found.includes(spelled)) continue;
    if (spelled.length >= shortestDerived && !found.some((known) => equal(known, spelled)))
      found.push(spelled);
    else spelled.fill(0);
  }
  return found;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
