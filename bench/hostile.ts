// What makes searches slow, by name: for a number of secrets and a size, the scrubber and the text it has to read.

import { createScrubber, type ScrubStream } from "../executor/scrub/scrubber.ts";
import { ciLog, dice, tokens } from "./ci-log.ts";

export const chunkSize = 32 << 10;

export interface Input {
  readonly chunks: readonly Uint8Array[];
  readonly size: number;
}

export function inChunks(bytes: Uint8Array, size = chunkSize): Input {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return { chunks, size: bytes.length };
}

export function inLines(bytes: Uint8Array): Input {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0x0a, at) + 1 || bytes.length;
    chunks.push(bytes.subarray(at, end));
    at = end;
  }
  return { chunks, size: bytes.length };
}

/** `size` bytes drawn from `parts`. */
function mixed(parts: readonly Uint8Array[], size: number): Uint8Array {
  const roll = dice(5);
  const out = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const part = parts[roll(parts.length)]!;
    out.set(part.subarray(0, size - at), at);
    at += part.length;
  }
  return out;
}

const bytes = (text: string) => Buffer.from(text, "latin1");

function twoLetters(count: number, length: () => number, seed: number): Uint8Array[] {
  const roll = dice(seed);
  return Array.from({ length: count }, () =>
    Uint8Array.from({ length: length() }, () => 0x61 + (roll(4096) & 1)),
  );
}

export interface Hostile {
  readonly secrets: readonly Uint8Array[];
  readonly text: Uint8Array;
  /** Whether the secrets are searched in all forms. */
  readonly forms: boolean;
}

type Make = (count: number, size: number) => Hostile;

const plain: Record<string, Make> = {
  "near misses": (count, size) => {
    const secrets = tokens(count);
    const text = mixed(
      secrets.map((secret) => secret.subarray(0, -1)),
      size,
    );
    return { secrets, text, forms: false };
  },
  "one letter": (count, size) => {
    const secrets = Array.from({ length: count }, (_, i) =>
      bytes(`${"a".repeat(16 + (i % 1000))}${String(i).padStart(5, "b")}`),
    );
    return { secrets, text: bytes("a".repeat(size)), forms: false };
  },
  "two letters": (count, size) => {
    const roll = dice(11);
    const secrets = twoLetters(count, () => 16 + roll(25), 3);
    return {
      secrets,
      text: mixed(
        twoLetters(64, () => 997, 17),
        size,
      ),
      forms: false,
    };
  },
  "nothing but secrets": (count, size) => {
    const secrets = tokens(count);
    return { secrets, text: mixed(secrets, size), forms: false };
  },
  "secrets of 5 bytes, spaced": (count, size) => {
    const secrets = tokens(count, 9, 5);
    const spaced = secrets.map((secret) => Buffer.concat([secret, bytes(" ")]));
    return { secrets, text: mixed(spaced, size), forms: false };
  },
  "a secret ends at every byte": (count, size) => ({
    secrets: Array.from({ length: count }, (_, i) => bytes("a".repeat(4 + i))),
    text: bytes("a".repeat(size)),
    forms: false,
  }),
};

/** Each byte as `spell` says. */
const each = (spell: (byte: number, character: string) => string) => (text: Buffer) =>
  bytes(Array.from(text, (byte) => spell(byte, String.fromCharCode(byte))).join(""));
const hex = (byte: number) => byte.toString(16).padStart(2, "0");
const wrap = (text: string, width: number) =>
  bytes(`${text.replace(new RegExp(`.{${width}}`, "g"), "$&\n")}\n`);
const base64 = (width: number) => (text: Buffer) => wrap(text.toString("base64"), width);

/** Programs that respell all they print. */
const dresses: Record<string, (text: Buffer) => Buffer> = {
  "URL-encoded, each byte": each((byte) => `%${hex(byte).toUpperCase()}`),
  "URL-encoded, as needed": (text) => bytes(encodeURIComponent(text.toString("latin1"))),
  "URL-encoded, twice": (text) => bytes(encodeURIComponent(encodeURIComponent(text.toString("latin1")))),
  "JSON in JSON": (text) =>
    bytes(
      text
        .toString("latin1")
        .split("\n")
        .map((line) => JSON.stringify({ log: JSON.stringify({ line }) }))
        .join("\n"),
    ),
  "\\u00NN, each byte": each((byte) => `\\u00${hex(byte)}`),
  "\\NNN, each byte": each((byte) => `\\${byte.toString(8).padStart(3, "0")}`),
  "a backslash before signs": each((_, character) => (/\w/.test(character) ? character : `\\${character}`)),
  "quoted-printable": (text) =>
    bytes(text.toString("latin1").replace(/=/g, "=3D").replace(/.{75}/g, "$&=\n")),
  "HTML, each byte": each((byte) => `&#${byte};`),
  "HTML, signs": each((byte, character) => (/[\w\s]/.test(character) ? character : `&#x${hex(byte)};`)),
  xxd: (text) => {
    const lines: string[] = [];
    for (let at = 0; at < text.length; at += 16) {
      const line = text.subarray(at, at + 16);
      const digits = line.toString("hex").replace(/.{4}/g, "$& ");
      lines.push(
        `${at.toString(16).padStart(8, "0")}: ${digits} ${line.toString("latin1").replace(/\n/g, ".")}\n`,
      );
    }
    return bytes(lines.join(""));
  },
  "od -An -tx1": (text) => wrap(text.toString("hex").replace(/../g, " $&"), 48),
  "hex, wrapped at 60": (text) => wrap(text.toString("hex"), 60),
  "base64, wrapped at 76": base64(76),
  "base64, wrapped at 57": base64(57),
  "base64, wrapped at 20": base64(20),
};

/** A log, and beginnings of secrets, which are the hardest to tell from secrets. */
const respelled = Object.fromEntries(
  Object.entries(dresses).flatMap(([name, dress]): [string, Make][] => {
    const make =
      (textOf: (secrets: readonly Uint8Array[]) => Uint8Array): Make =>
      (count, size) => {
        const secrets = tokens(count);
        const block = dress(Buffer.from(textOf(secrets)));
        return { secrets, text: mixed([block], size), forms: true };
      };
    const misses = (secrets: readonly Uint8Array[]) =>
      mixed(
        secrets.map((secret) => secret.subarray(0, -1)),
        64 << 10,
      );
    return [
      [`${name}: a log`, make(() => ciLog(128 << 10))],
      [`${name}: near misses`, make(misses)],
    ];
  }),
);

const runs: Record<string, Make> = Object.fromEntries(
  ["%41", "\\u0041", "&#65;", "%", "\\", "&a", "= ", '""', "%2541", "\\n", "A\n"].map((part) => [
    `${JSON.stringify(part)} again and again`,
    (count: number, size: number): Hostile => ({
      secrets: tokens(count),
      text: mixed([bytes(part.repeat(1000))], size),
      forms: true,
    }),
  ]),
);

export const hostile: Readonly<Record<string, Make>> = {
  ...plain,
  "wrapped base64": (count, size) => {
    const secrets = tokens(count);
    const wrapped = secrets.map((secret) => {
      const shorter = secret.subarray(0, -1);
      const text = Buffer.concat([shorter, bytes("!"), shorter, secret]).toString("base64");
      return bytes(`${text.replace(/.{76}/g, "$&\n")}\n`);
    });
    return { secrets, text: mixed(wrapped, size), forms: true };
  },
};

/** The same for texts full of what is no character by itself; all of them are searched in all forms. */
export const dressed: Readonly<Record<string, Make>> = { ...respelled, ...runs };

/** Megabytes a second. */
export function scrubSpeed(scrubber: { stream(): ScrubStream }, { chunks, size }: Input): number {
  const stream = scrubber.stream();
  const start = performance.now();
  for (const chunk of chunks) stream.push(chunk);
  stream.end();
  return size / 1e3 / (performance.now() - start);
}

export const scrubberOf = ({ secrets, forms }: Hostile) => createScrubber(secrets, { forms });
