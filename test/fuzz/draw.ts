// Draws games for the fuzz job. Small alphabets, periodic and Fibonacci words, and texts made of the secrets'
// own parts: that is where searches for several patterns go wrong.

import type { Game, Move } from "./game.ts";

/** Below n, the same ones for the same seed (xorshift32 after a splitmix step, so that near seeds differ). */
export function dice(seed: number): (n: number) => number {
  let x = Math.imul(seed ^ (seed >>> 16), 0x45d9f3b) ^ 0x9e3779b9;
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) | 1;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

type Roll = (n: number) => number;

const pick = <T>(roll: Roll, from: readonly T[]): T => from[roll(from.length)]!;

function fibonacci(length: number): string {
  let [a, b] = ["a", "ab"];
  while (b.length < length) [a, b] = [b, b + a];
  return b.slice(0, length);
}

/** A maker of words of one kind. */
function wordsOf(roll: Roll): (length: number) => string {
  const size = pick(roll, [1, 2, 2, 3, 4, 26, 256]);
  const first = size === 256 ? 0 : 97;
  const random = (length: number) => {
    let word = "";
    for (let i = 0; i < length; i++) word += String.fromCharCode(first + roll(size));
    return word;
  };
  const kind = roll(6);
  if (kind === 0) {
    const period = random(1 + roll(4));
    return (length) =>
      period
        .repeat(length)
        .slice(roll(period.length))
        .slice(0, length - 1) + random(1);
  }
  if (kind === 1) return (length) => fibonacci(length + roll(5)).slice(-length);
  return random;
}

function cut(roll: Roll, text: string): Move[] {
  const largest = pick(roll, [1, 3, 9, 16, 64, 4096, 4096]);
  const moves: Move[] = [];
  for (let at = 0; at < text.length; ) {
    const size = roll(20) === 0 ? 0 : 1 + roll(largest);
    moves.push(["push", text.slice(at, at + size)]);
    at += size;
    if (roll(12) === 0) moves.push(["flush"]);
  }
  return moves;
}

function part(roll: Roll, word: string): string {
  const from = roll(3) === 0 ? roll(word.length + 1) : 0;
  const to = roll(2) === 0 ? word.length - roll(Math.min(3, word.length) + 1) : word.length;
  return word.slice(from, Math.max(from, to));
}

function patternGame(roll: Roll): Game {
  const word = wordsOf(roll);
  const shortest = pick(roll, [1, 2, 4, 6, 8, 12, 20]);
  const secrets = Array.from({ length: 1 + roll(6) }, () => word(shortest + roll(12)));
  const late = roll(5) === 0 ? [word(shortest + roll(8)), part(roll, secrets[0]!)] : [];
  const known = [...secrets, ...late];
  let text = "";
  for (let i = roll(10); i >= 0; i--)
    text += roll(3) === 0 ? word(1 + roll(16)) : part(roll, pick(roll, known));
  // Large enough for the filters to read it by words; in one piece, or the oracle would take too long.
  const large = roll(150) === 0;
  if (large) while (text.length < 1100) text += word(1 + roll(90)) + part(roll, pick(roll, known));
  const moves: Move[] = large ? [["push", text]] : cut(roll, text);
  if (late.length > 0) moves.splice(roll(moves.length + 1), 0, ["add", late]);
  return { mode: "patterns", secrets, moves };
}

const dress = (roll: Roll) => {
  const hex = (byte: number, width = 2) => byte.toString(16).padStart(width, "0");
  const either = (text: string) => (roll(2) === 0 ? text : text.toUpperCase());
  const ways: ((c: string, byte: number) => string)[] = [
    (_, byte) => `%${either(hex(byte))}`,
    (_, byte) => `%25${either(hex(byte))}`,
    (_, byte) => `\\x${either(hex(byte))}`,
    (_, byte) => `\\u${either(hex(byte, 4))}`,
    (_, byte) => `\\\\u${hex(byte, 4)}`,
    (_, byte) => `\\${byte.toString(8).padStart(3, "0")}`,
    (_, byte) => `&#${byte};`,
    (_, byte) => `&#x${hex(byte)};`,
    (c) => (/[A-Za-z0-9]/.test(c) ? c : `\\${c}`),
    (c, byte) => (/[A-Za-z0-9]/.test(c) ? c : `=${hex(byte).toUpperCase()}`),
    (c) => (c === "'" ? pick(roll, ["''", "'\"'\"'", "'\\''"]) : c),
    (c) => ('"$%'.includes(c) ? c + c : c),
    (_, byte) => `%26%23${byte}%3${either("b")}`,
  ];
  const kinds = roll(3) === 0 ? ways : [pick(roll, ways), pick(roll, ways)];
  const often = 1 + roll(4);
  // Git writes all of them so.
  const outside = roll(8) === 0;
  return (value: string) =>
    Array.from(value, (c) => {
      if (c === " ") return pick(roll, [" ", "  ", "\n", "\r\n    ", "\t", "\\n", "%20", "%0A"]);
      if (c === "!" && outside) return "'\\!'";
      return roll(often) === 0 ? pick(roll, kinds)(c, c.charCodeAt(0)) : c;
    }).join("");
};

/** A value in some dress, or encoded and wrapped, between other bytes. */
function dressGame(roll: Roll): Game {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const word = (length: number) => Array.from({ length }, () => letters[roll(letters.length)]).join("");
  // No %, which may be read as a part of what is dressed beside it.
  const signs = "!\"#$&'()*+,-./:;<=>?@[]^_`{|}~ ";
  const inner = Array.from({ length: 2 + roll(5) }, () => word(1 + roll(8)) + signs[roll(signs.length)]).join(
    "",
  );
  // At both ends, letters that no neighbour makes an escape of.
  const value = `q${word(3)}${inner}${word(4)}z`;
  const around = () => pick(roll, ["", " ", '"', "'", "x: ", "KEY:", "(", ",", "\n"]);
  let text: string;
  let never: string[];
  const wrapped = roll(3) === 0;
  if (wrapped) {
    const coding = pick(roll, ["base64", "hex"] as const);
    const whole = Buffer.from(word(roll(60)) + value + word(roll(60)), "latin1").toString(coding);
    const size = 40 + roll(60);
    const lines = whole.match(new RegExp(`.{1,${size}}`, "g")) ?? [];
    const lineBreak = pick(roll, [
      "\n",
      "\r\n",
      "\n    ",
      "\\n",
      "\\r\\n",
      "\n2026-03-01T00:00:00Z build | ",
    ]);
    text = `${around()}${lines.join(lineBreak)}\n`;
    const own = Buffer.from(value, "latin1").toString("hex");
    never = coding === "hex" ? [own.slice(12, 24)] : [];
    // Of base64, the letters that are the value's wherever it stands.
    for (const before of coding === "base64" ? [0, 1, 2] : []) {
      const all = Buffer.from("x".repeat(before) + value, "latin1")
        .toString("base64")
        .replaceAll("=", "");
      never.push(all.slice(before + 10, before + 18));
    }
  } else if (roll(6) === 0) {
    const between = pick(roll, [" ", ",", "\n"]);
    const kind = between === "," ? 10 : 16;
    text = `[${Array.from(value, (c) => c.charCodeAt(0).toString(kind)).join(between)}]\n`;
    never = [Array.from(value.slice(0, 8), (c) => c.charCodeAt(0).toString(kind)).join(between)];
  } else {
    text = `${around()}${dress(roll)(value)}${around()}\n`;
    never = (value.match(/[A-Za-z0-9]{4,}/g) ?? []).map((run) => run);
  }
  text = `${word(roll(9))} ${text}${word(roll(9))}`;
  return {
    mode: "values",
    secrets: [value],
    moves: cut(roll, text).filter(([kind]) => kind === "push"),
    never,
  };
}

/** The game of this number; one in 64 is about a value in some dress. */
export function draw(seed: number): Game {
  const roll = dice(seed);
  return seed % 64 === 0 ? dressGame(roll) : patternGame(roll);
}
