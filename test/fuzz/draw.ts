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

/** Values in base64 and hex that was wrapped, between other bytes. */
function wrapGame(roll: Roll): Game {
  const word = wordsOf(roll);
  const value = () => {
    const inner = word(4 + roll(pick(roll, [8, 60, 200])));
    return `v${roll(8) === 0 ? `${inner}\n${word(64)}\n${word(9)}` : inner}w..`;
  };
  const secrets = Array.from({ length: 1 + roll(2) }, value);
  const late = roll(5) === 0 ? [value()] : [];
  const known = [...secrets, ...late];
  let text = "";
  for (let i = roll(3); i >= 0; i--) {
    const inner =
      word(roll(70)) + (roll(5) === 0 ? part(roll, pick(roll, known)) : pick(roll, known)) + word(roll(70));
    if (roll(6) === 0) text += `${pick(roll, known)}\n`;
    else {
      const encoded = Buffer.from(inner, "latin1").toString(
        pick(roll, ["base64", "base64", "base64url", "hex"]),
      );
      const lines = encoded.match(new RegExp(`.{1,${pick(roll, [64, 76])}}`, "g")) ?? [];
      text +=
        pick(roll, ["", " ", "x"]) +
        lines.join(pick(roll, ["\n", "\r\n", "\r"])) +
        pick(roll, ["", "\n", "\r\n", "\r"]);
    }
  }
  const moves = cut(roll, text.slice(0, 700));
  if (late.length > 0) moves.splice(roll(moves.length + 1), 0, ["add", late]);
  return { mode: "values", secrets, moves };
}

/** The game of this number; one in 512 is about wrapped base64, which takes the oracle far longer. */
export function draw(seed: number): Game {
  const roll = dice(seed);
  return seed % 512 === 0 ? wrapGame(roll) : patternGame(roll);
}
