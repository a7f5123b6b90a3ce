// The parts of a value that programs show alone: its lines, the strings of one that is JSON, the settings of one that is
// YAML, TOML or an environment file, the body of a PEM, and what one stands for that is base64. They are values, too,
// unless they are so short or common that hiding them would wreck the output.

import { isWord } from "./bytes.ts";
import { isArmour, linesOf, trimSpace } from "./lines.ts";
import { decodeBase64, readJsonString } from "./texts.ts";

/** Shortest part that is a value. */
const shortest = 8;
/** Shortest line that is one if it has both letters and digits, and nothing of a notation. */
const shortestMixed = 4;
/** Parts of parts of parts, and so many of them. */
const deepest = 3;
const most = 2000;

/** Not secrets, though they stand where one may stand. */
const common = new Set(
  `service_account authorized_user external_account username password postgres postgresql localhost production development
  staging administrator undefined disabled required optional standard internal external anonymous localhost:5432
  localhost:6379 googleapis.com kubernetes application/json text/plain us-east-1 us-west-2 eu-west-1 eu-central-1`
    .split(/\s+/)
    .map((word) => key(new TextEncoder().encode(word))),
);

/** Copies of the parts, each for itself; they may repeat each other. */
export function partsOf(value: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  collect(value, 0, found);
  return found;
}

function collect(value: Uint8Array, depth: number, found: Uint8Array[]): void {
  const take = (part: Uint8Array) => {
    const trimmed = trimSpace(part);
    if (found.length >= most || trimmed.length < shortest || common.has(key(trimmed))) return;
    const copy = new Uint8Array(trimmed);
    found.push(copy);
    if (depth < deepest) collect(copy, depth + 1, found);
  };
  const takeAndWipe = (part: Uint8Array) => {
    take(part);
    part.fill(0);
  };

  const isJson = (value[0] === 0x7b && value.at(-1) === 0x7d) || (value[0] === 0x5b && value.at(-1) === 0x5d);
  if (isJson) for (const string of jsonStrings(value)) takeAndWipe(string);
  const decoded = decodeBase64(value);
  if (decoded) takeAndWipe(decoded);
  const lines = linesOf(value).map(trimSpace);
  if (lines.length === 1) return;
  for (const line of lines) {
    if (isArmour(line)) continue;
    if (line.length >= shortest || isMixed(line)) found.push(new Uint8Array(line));
    if (isJson) continue;
    const setting = settingOf(line);
    if (setting) takeAndWipe(setting);
  }
  for (const body of bodiesOf(lines)) takeAndWipe(body);
}

/** As a number, because a string cannot be wiped (FNV-1a). */
function key(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

function isMixed(line: Uint8Array): boolean {
  if (line.length < shortestMixed) return false;
  const digits = line.filter((byte) => byte >= 0x30 && byte <= 0x39).length;
  const letters = line.filter(isWord).length - digits;
  return digits > 0 && letters > 0 && !line.some((byte) => notation.includes(byte));
}
const notation = new TextEncoder().encode(" \t{}[]()<>\"':;,=#");

/** The strings that are no names. */
function* jsonStrings(value: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < value.length; at++) {
    if (value[at] !== 0x22) continue;
    const { text, end } = readJsonString(value, at);
    let next = end;
    while (next < value.length && value[next]! <= 0x20) next++;
    if (value[next] === 0x3a) text.fill(0);
    else yield text;
    at = end - 1;
  }
}

/** What stands behind `name: ` or `name = `, without its quotes. */
function settingOf(line: Uint8Array): Uint8Array | undefined {
  let at = 0;
  while (at < line.length && (isWord(line[at]!) || inName.includes(line[at]!))) at++;
  if (at === 0) return undefined;
  while (line[at] === 0x20) at++;
  if (line[at] !== 0x3d && !(line[at] === 0x3a && line[at + 1] === 0x20)) return undefined;
  const rest = trimSpace(line.subarray(at + 1));
  if (rest[0] === 0x22) return readJsonString(rest, 0).text;
  if (rest[0] === 0x27) {
    const end = rest.indexOf(0x27, 1);
    return new Uint8Array(rest.subarray(1, end < 0 ? rest.length : end));
  }
  return new Uint8Array(rest);
}
const inName = new TextEncoder().encode("-_.\"'");

/** What stands between BEGIN and END, as one line. */
function* bodiesOf(lines: readonly Uint8Array[]): Generator<Uint8Array> {
  let body: Uint8Array[] | undefined;
  for (const line of lines) {
    if (!isArmour(line)) {
      if (!line.includes(0x3a)) body?.push(line);
      continue;
    }
    if (body && body.length > 0) {
      const whole = new Uint8Array(body.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const part of body) {
        whole.set(part, at);
        at += part.length;
      }
      yield whole;
    }
    body = body ? undefined : [];
  }
}
