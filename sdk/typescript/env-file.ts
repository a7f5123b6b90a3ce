/** The secrets of a `.env` file. docs/env-files.md has the grammar, and test/vectors/env/ is what every reader agrees on. */
import { isUtf8 } from "node:buffer";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type Secret, setSecret } from "./secret.ts";

/** Of a file, in bytes. */
export const envFileLimit = 1024 * 1024;

/** One secret for each variable in the file, with its name. They go to the executor as those of `setSecret` do. */
export function envFile(path: string): Secret[] {
  const found = new Map<string, Secret>();
  for (const [name, value] of parse(Buffer.from(readUpTo(path, envFileLimit)), path))
    found.set(name, setSecret(name, value));
  return [...found.values()];
}

/**
 * A file that may be a pipe, or a device that never ends.
 *
 * @throws when there is more in it than the limit, in bytes.
 */
export function readUpTo(path: string, limit: number): Uint8Array {
  const file = openSync(path, "r");
  try {
    let bytes = Buffer.alloc(Math.min(fstatSync(file).size, limit) + 1);
    let length = 0;
    for (;;) {
      const read = readSync(file, bytes, length, bytes.length - length, null);
      length += read;
      if (read === 0) return bytes.subarray(0, length);
      if (length > limit) throw new Error(`${path} has more than ${limit} bytes`);
      if (length === bytes.length) {
        const larger = Buffer.alloc(Math.min(2 * length + 64 * 1024, limit + 1));
        bytes.copy(larger);
        // It may have been a secret's.
        bytes.fill(0);
        bytes = larger;
      }
    }
  } finally {
    closeSync(file);
  }
}

const ignoredLine = /[ \t]*(?:#[^\n]*)?(?:\n|$)/y;
const start = /[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=/y;
const singleQuoted = /[ \t]*'([^']*)'/y;
const doubleQuoted = /[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"/sy;
const restOfQuoted = /[ \t]*(?:\n|$)|[ \t]+#[^\n]*/y;
const unquoted = /[^\n]*/y;
const escapes = new Map([...'"\\$'].map((character) => [character, character]))
  .set("n", "\n")
  .set("r", "\r")
  .set("t", "\t");

/** In linear time, which a pattern that looks for the end is not. */
function trimBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && " \t".includes(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end).replace(/^[ \t]+/, "");
}

function parse(bytes: Buffer, path: string): (readonly [name: string, value: string])[] {
  const wrong = (line: number, why: string) => new Error(`${path}:${line}: ${why}`);
  for (const [index, line] of bytes.toString("latin1").split("\n").entries()) {
    if (!isUtf8(Buffer.from(line, "latin1"))) throw wrong(index + 1, "this line is not UTF-8");
    if (line.includes("\0")) throw wrong(index + 1, "this line has a NUL byte");
    if (/\r(?!$)/.test(line)) throw wrong(index + 1, "this line has a carriage return inside");
  }
  const text = bytes
    .toString()
    .replace(/^\ufeff/, "")
    .replaceAll("\r", "");
  const found: [name: string, value: string][] = [];
  let at = 0;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  const here = (why: string, place = at) => wrong(text.slice(0, place).split("\n").length, why);

  while (at < text.length) {
    if (take(ignoredLine)) continue;
    const [, name] = take(start) ?? [];
    if (name === undefined) throw here("this is not NAME=VALUE");
    const quoted = take(singleQuoted) ?? take(doubleQuoted);
    if (!quoted) {
      const [rest = ""] = take(unquoted) ?? [];
      if (/^[ \t]*["']/.test(rest)) throw here("this quote is not closed", at - rest.length);
      found.push([name, trimBlanks(rest.replace(/[ \t]#.*/s, ""))]);
      continue;
    }
    const [whole, inside = ""] = quoted;
    const from = at - 1 - inside.length;
    const value = whole.endsWith("'")
      ? inside
      : inside.replace(/\\(.)/gs, (_, escaped: string, offset: number) => {
          const character = escapes.get(escaped);
          if (character !== undefined) return character;
          throw here("this escape is not known; in single quotes a backslash is a backslash", from + offset);
        });
    if (!take(restOfQuoted)) throw here("only a comment may follow the closing quote");
    found.push([name, value]);
  }
  return found;
}
