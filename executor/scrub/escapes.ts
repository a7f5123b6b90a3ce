// Takes the escapes out of a text, byte by byte, whatever program put them in and however deep they are nested:
// what an escape stands for is read again, so `%2540`, `%40` and `&#37;40` all come out as `@`. Those who write them
// differ in which characters they escape, and the reader does not have to know.
//
//   \ before anything    the character: \" \/ \= \# …; n r t v f as white space; a b e as control characters
//   \xNN \x{N…}          a byte; a character                      C, Python, Perl, Rust
//   \uNNNN \u{N…} \U…    a character, also as two surrogates      JSON, JavaScript, Java, Python
//   \NNN                 a byte, in octal, \0NN to \3NN           Bash, Git, C
//   \NN                  a byte, in hex, where it is no octal     LDAP (RFC 4514)
//   %NN %uNNNN           a byte; a UTF-16 unit                    RFC 3986; ECMAScript's escape()
//   %%                   %                                        printf, systemd, INI files
//   &#N; &#xN; &name;    a character                              HTML and XML
//   =NN, = at line's end a byte that is no letter or digit; none  Quoted-printable (RFC 2045)
//
// A run of backslashes counts as one: how many there are only says how deep the text is nested.

import { isWord } from "./bytes.ts";
import { entityAt } from "./entities.ts";

/** Gets each byte of the text without its escapes, and where it stood. `dressed` if it did not stand for itself. */
export type Emit = (byte: number, start: number, end: number, dressed: boolean) => void;

export interface Unescape {
  /** The byte at `[start, end)`. */
  feed(byte: number, start: number, end: number, dressed: boolean): void;
  /** Where an escape begins that is not whole yet; undefined if there is none. */
  pending(): number | undefined;
  /** The text ends here. */
  end(): void;
  /** Whether a byte with which no escape begins would be given on as it is. */
  rests(): boolean;
  /** Forgets what has begun. */
  reset(): void;
  /** The same, and zeroes what was read. */
  wipe(): void;
}

const code = (character: string) => character.charCodeAt(0);
const [backslash, percent, ampersand, equals] = ["\\", "%", "&", "="].map(code) as [
  number,
  number,
  number,
  number,
];
const [LF, CR, blank, hash, semicolon, open, close] = [0x0a, 0x0d, 0x20, 0x23, 0x3b, 0x7b, 0x7d];

/** Bytes with which an escape may begin. */
export const begins = new Uint8Array(256);
for (const byte of [backslash, percent, ampersand, equals]) begins[byte] = 1;

const digitOf = (byte: number): number => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
};
const isOctal = (byte: number) => byte >= 0x30 && byte <= 0x37;
/** Whether an escape that begins with `byte` may go on with `next`. */
export function mayEscape(byte: number, next: number): boolean {
  if (byte === backslash) return true;
  if (byte === percent) return digitOf(next) >= 0 || next === percent || next === 0x75;
  if (byte === ampersand) return next === hash || isWord(next);
  return isUpperHex(next) || next === LF || next === CR;
}

/**
 * Whether an escape may begin at `at`, as far as the bytes behind it are known. It takes nothing but bytes that stand for themselves,
 * so what this denies is none.
 */
export function mayBegin(bytes: Uint8Array, at: number): boolean {
  const { length } = bytes;
  const byte = bytes[at]!;
  if (byte === backslash || at + 1 >= length) return true;
  const next = bytes[at + 1]!;
  if (!mayEscape(byte, next)) return false;
  if (byte === ampersand) {
    const end = Math.min(at + longest, length);
    let i = at + 2;
    while (i < end && isWord(bytes[i]!)) i++;
    return i === length || (i < end && bytes[i] === semicolon);
  }
  if (next === LF || next === percent || at + 2 >= length) return true;
  const third = bytes[at + 2]!;
  if (byte === percent) return digitOf(third) >= 0;
  return next === CR ? third === LF : isUpperHex(third);
}

const isUpperHex = (byte: number) => (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46);

/** What a letter after a backslash stands for. */
export const controls = new Map([
  ...["n", "r", "t", "v", "f"].map((letter) => [code(letter), blank] as const),
  [code("a"), 7],
  [code("b"), 8],
  [code("e"), 27],
  [code("E"), 27],
]);
controls.set(code("n"), LF);
controls.set(code("r"), CR);

/** Longest escape: a backslash, `u{`, six digits, `}`; an entity is shorter. */
const longest = 12;

/** What the bytes taken so far are: not yet an escape, an escape, or none. */
type Verdict = "more" | "done" | "not";

/** What a line break stands for that does not count. */
const softBreak = 0x200000;

export function createUnescape(emit: Emit): Unescape {
  const bytes = new Uint8Array(longest + 2);
  const starts = new Float64Array(longest + 2);
  const ends = new Float64Array(longest + 2);
  let length = 0;
  /** What a whole escape stands for: a byte, or a character if it is negative (its complement). */
  let meaning = 0;
  /** Of its bytes, these were not part of it. */
  let surplus = 0;
  /** First half of a character beyond U+FFFF, and where it stands. */
  let high = 0;
  let highStart = 0;
  let highEnd = 0;
  /** The byte that may begin an escape does not stand for itself alone. */
  let doubled = false;

  function hexValue(from: number, to: number): number {
    let value = 0;
    for (let i = from; i < to; i++) {
      const digit = digitOf(bytes[i]!);
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    return value;
  }

  const stands = (byte: number): Verdict => {
    meaning = byte;
    return "done";
  };
  const isCharacter = (point: number): Verdict => (point < 0 ? "not" : stands(~point));

  /** `\x…` and `\u…`: `width` digits, or any number in braces. */
  function digits(width: number, asByte: boolean): Verdict {
    const last = bytes[length - 1]!;
    if (length === 2) return "more";
    if (bytes[2] === open) {
      if (last !== close) return length === 3 || (digitOf(last) >= 0 && length < 10) ? "more" : "not";
      return length === 4 ? "not" : isCharacter(hexValue(3, length - 1));
    }
    if (digitOf(last) < 0) return "not";
    if (length < 2 + width) return "more";
    const value = hexValue(2, length);
    return asByte ? stands(value) : isCharacter(value);
  }

  function afterBackslash(): Verdict {
    const first = bytes[1]!;
    const last = bytes[length - 1]!;
    if (first === 0x78) return digits(2, true);
    if (first === 0x75) return digits(4, false);
    if (first === 0x55) return digits(8, false);
    const control = controls.get(first);
    if (length === 2) {
      if (digitOf(first) >= 0) return "more";
      return stands(control ?? first);
    }
    // \NNN, else \NN, else a control character and something else.
    if (length === 3) {
      if (isOctal(first) && first <= 0x33 && isOctal(last)) return "more";
      if (digitOf(last) >= 0) return stands(hexValue(1, 3));
    } else {
      if (isOctal(last)) return stands((first & 3) * 64 + (bytes[2]! & 7) * 8 + (last & 7));
      surplus = 1;
      return stands(hexValue(1, 3));
    }
    surplus = 1;
    return stands(control ?? first);
  }

  function afterPercent(): Verdict {
    const last = bytes[length - 1]!;
    if (bytes[1] === 0x75) {
      if (length === 2) return "more";
      if (digitOf(last) < 0) return "not";
      return length < 6 ? "more" : isCharacter(hexValue(2, 6));
    }
    if (digitOf(last) < 0) return "not";
    return length < 3 ? "more" : stands(hexValue(1, 3));
  }

  function afterAmpersand(): Verdict {
    const last = bytes[length - 1]!;
    if (length === 2) return last === hash || isWord(last) ? "more" : "not";
    if (last !== semicolon) {
      const isX = length === 3 && bytes[1] === hash && last === 0x78;
      return isX || (length < longest - 1 && isWord(last)) ? "more" : "not";
    }
    if (bytes[1] !== hash) {
      const point = entityAt(bytes, 1, length - 1);
      return point === undefined ? "not" : isCharacter(point);
    }
    if (bytes[2] === 0x78) return length > 4 ? isCharacter(hexValue(3, length - 1)) : "not";
    let point = 0;
    for (let i = 2; i < length - 1; i++) {
      if (bytes[i]! < 0x30 || bytes[i]! > 0x39) return "not";
      point = point * 10 + bytes[i]! - 0x30;
    }
    return length > 3 ? isCharacter(point) : "not";
  }

  function afterEquals(): Verdict {
    const last = bytes[length - 1]!;
    if (length === 2) {
      if (last === LF) return stands(softBreak);
      return last === CR || isUpperHex(last) ? "more" : "not";
    }
    if (bytes[1] === CR) return last === LF ? stands(softBreak) : "not";
    const value = isUpperHex(last) ? hexValue(1, 3) : -1;
    return value < 0 || isWord(value) ? "not" : stands(value);
  }

  function judge(): Verdict {
    if (bytes[0] === backslash) return afterBackslash();
    if (bytes[0] === percent) return afterPercent();
    return bytes[0] === ampersand ? afterAmpersand() : afterEquals();
  }

  function feed(byte: number, start: number, end: number, dressed: boolean): void {
    if (length === 0) {
      if (begins[byte] === 1) {
        push(byte, start, end);
        doubled = dressed;
      } else deliver(byte, start, end, dressed);
      return;
    }
    // Of `\\` and `%%` one is left; a backslash says where the character begins.
    if (length === 1 && byte === bytes[0] && (byte === backslash || (byte === percent && !doubled))) {
      if (byte === percent) starts[0] = start;
      ends[0] = end;
      doubled = true;
      return;
    }
    push(byte, start, end);
    surplus = 0;
    const verdict = judge();
    if (verdict === "more") return;
    if (verdict === "done") finish();
    else fail();
  }
  function push(byte: number, start: number, end: number) {
    bytes[length] = byte;
    starts[length] = start;
    ends[length++] = end;
  }

  function finish() {
    // No program escapes a letter by a backslash alone: it stands there for something else.
    const isBare = bytes[0] === backslash && length === 2 && meaning === bytes[1] && isWord(meaning);
    const start = isBare ? starts[1]! : starts[0]!;
    const rest = surplus;
    const byte = bytes[length - 1]!;
    const from = starts[length - 1]!;
    const to = ends[length - 1]!;
    const end = ends[length - 1 - rest]!;
    const value = meaning;
    length = 0;
    doubled = false;
    if (value === softBreak) soft(start);
    else if (value >= 0) feed(value, start, end, true);
    else spell(~value, start, end);
    if (rest > 0) feed(byte, from, to, false);
  }

  /** Nothing is left of a line break that does not count, but what follows is dressed. */
  function soft(start: number) {
    emit(-1, start, start, true);
  }

  /**
   * It was no escape: its first byte stands for itself, unless it is a backslash, and what follows is read again. Of that, only
   * the last one can begin another, so nothing is written over before it is read.
   */
  function fail() {
    const taken = length;
    const first = bytes[0]!;
    const wasDoubled = doubled;
    length = 0;
    doubled = false;
    if (first !== backslash) deliver(first, starts[0]!, ends[0]!, wasDoubled);
    for (let i = 1; i < taken; i++) feed(bytes[i]!, starts[i]!, ends[i]!, first === backslash && i === 1);
  }

  /** A byte that is part of no escape. */
  function deliver(byte: number, start: number, end: number, dressed: boolean) {
    if (high !== 0) flushHigh();
    emit(byte, start, end, dressed);
  }

  function flushHigh() {
    const unit = high;
    high = 0;
    put(unit, highStart, highEnd);
  }

  /** A character, or half of one, as UTF-8. */
  function spell(point: number, start: number, end: number) {
    if (point < 0x80) {
      feed(point, start, end, true);
      return;
    }
    if (high !== 0) {
      const [unit, from] = [high, highStart];
      if (point >= 0xdc00 && point < 0xe000) {
        high = 0;
        put(0x10000 + ((unit - 0xd800) << 10) + point - 0xdc00, from, end);
        return;
      }
      flushHigh();
    }
    if (point >= 0xd800 && point < 0xdc00) {
      high = point;
      highStart = start;
      highEnd = end;
    } else put(point, start, end);
  }

  function put(point: number, start: number, end: number) {
    if (point >= 0x10000) {
      emit(0xf0 | ((point >> 18) & 7), start, end, true);
      emit(0x80 | ((point >> 12) & 63), start, end, true);
      emit(0x80 | ((point >> 6) & 63), start, end, true);
    } else if (point >= 0x800) {
      emit(0xe0 | (point >> 12), start, end, true);
      emit(0x80 | ((point >> 6) & 63), start, end, true);
    } else emit(0xc0 | (point >> 6), start, end, true);
    emit(0x80 | (point & 63), start, end, true);
  }

  function reset() {
    length = high = 0;
    doubled = false;
  }

  return {
    feed,
    rests: () => length === 0 && high === 0,
    pending: () => (high !== 0 ? highStart : length > 0 ? starts[0] : undefined),
    end() {
      while (length > 0) fail();
      if (high !== 0) flushHigh();
    },
    reset,
    wipe() {
      bytes.fill(0);
      reset();
    },
  };
}
