// JSON strings (RFC 8259 section 7) without their quotes. Any character may be written as an escape, and
// writers differ in which they do.

import { hexDigits, inTurn, put, range, respell, type Spelling, spelling } from "./respell.ts";

const short = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

const unicode = (code: number) => `\\u${hexDigits(code, 4)}`;
const upperUnicode = (code: number) => `\\u${hexDigits(code, 4).toUpperCase()}`;
const escapes = (characters: string, spell = unicode) =>
  Object.fromEntries(Array.from(characters, (c) => [c, spell(c.charCodeAt(0))]));

const control = range(0, 0x1f, unicode);
const upperControl = { ...range(0, 0x1f, upperUnicode), "\x7f": upperUnicode(0x7f) };

const plain = spelling(control, short);
const slash = spelling({ "/": "\\/" });
const html = spelling(control, short, escapes("<>&"));
const gson = spelling(control, short, escapes("<>&='"));
const oldGo = spelling(control, short, escapes("<>&\b\f"));
const ascii = spelling(control, { "\x7f": unicode(0x7f) }, short);
const upperAscii = spelling(upperControl, short);
const dotnet = spelling(upperControl, short, escapes("\"&'+<>`", upperUnicode));

const by = (table: Spelling) => (value: Uint8Array) => respell(value, table);

/** The writers. */
const writers: readonly (readonly ((value: Uint8Array) => Uint8Array)[])[] = [
  [by(plain)], // ECMAScript JSON.stringify, jq, Go without HTML escaping
  [by(plain), separators],
  [by(plain), by(slash)], // PHP with JSON_UNESCAPED_UNICODE
  [by(html), separators], // Go encoding/json, Rails
  [by(gson), separators], // Gson
  [by(oldGo), separators], // Go before 1.22
];

/** Those that write ASCII only. */
const asciiWriters: typeof writers = [
  [by(ascii), escaped(unicode)], // Python json.dumps, Ruby ascii_only
  [by(ascii), escaped(unicode), by(slash)], // PHP json_encode
  [by(upperAscii), escaped(upperUnicode)], // Newtonsoft EscapeNonAscii, jackson
  [by(dotnet), escaped(upperUnicode)], // System.Text.Json
];

/** As each writer spells it, and each of these inside another JSON string. */
export function jsonSpellings(value: Uint8Array): Uint8Array[] {
  const once = (isUtf8(value) ? [...writers, ...asciiWriters] : writers).map((steps) =>
    inTurn(value, ...steps),
  );
  // The inner text is ASCII where it was escaped, so the outer writer only meets quotes, backslashes, slashes.
  const twice = once.flatMap((json) => {
    const outer = respell(json, plain);
    return [outer, respell(outer, slash)];
  });
  return [...once, ...twice];
}

/** Go writes U+2028 and U+2029 as escapes too; here they are their three UTF-8 bytes. */
function separators(json: Uint8Array): Uint8Array {
  return escapeCharacters(json, unicode, (code) => code === 0x2028 || code === 0x2029);
}

function escaped(spell: (unit: number) => string): (json: Uint8Array) => Uint8Array {
  return (json) => escapeCharacters(json, spell, () => true);
}

/** Escapes those characters beyond ASCII that are `chosen`, as UTF-16 units. Bytes that are not UTF-8 stay. */
function escapeCharacters(
  json: Uint8Array,
  spell: (unit: number) => string,
  chosen: (code: number) => boolean,
): Uint8Array {
  const escapeOf = (code: number) =>
    code < 0x10000 ? spell(code) : spell(0xd7c0 + (code >> 10)) + spell(0xdc00 | (code & 0x3ff));
  let length = json.length;
  for (let i = 0; i < json.length; i++) {
    const { code, size } = characterAt(json, i);
    if (size > 1 && chosen(code)) length += escapeOf(code).length - size;
  }
  if (length === json.length) return json;
  const out = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < json.length; ) {
    const { code, size } = characterAt(json, i);
    if (size > 1 && chosen(code)) {
      at = put(out, at, escapeOf(code));
      i += size;
    } else out[at++] = json[i++]!;
  }
  return out;
}

function isUtf8(value: Uint8Array): boolean {
  for (let i = 0; i < value.length; ) {
    const { size } = characterAt(value, i);
    if (size === 0) return false;
    i += size;
  }
  return true;
}

/** Least code by size: no character is accepted in more bytes than it needs. */
const least = [0, 0, 0x80, 0x800, 0x10000];

/** The UTF-8 character that begins at `at`; size 0 if none does (RFC 3629 section 3). */
function characterAt(bytes: Uint8Array, at: number): { code: number; size: number } {
  const lead = bytes[at]!;
  if (lead < 0x80) return { code: lead, size: 1 };
  const size = lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
  if (size === 0) return { code: 0, size: 0 };
  let code = lead & (0x7f >> size);
  for (let i = 1; i < size; i++) {
    const next = bytes[at + i] ?? 0;
    if ((next & 0xc0) !== 0x80) return { code: 0, size: 0 };
    code = (code << 6) | (next & 0x3f);
  }
  const valid = code >= least[size]! && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return valid ? { code, size } : { code: 0, size: 0 };
}
