/** Sizes, times and other numbers as people write them in plans and on a command line. */
import { readDuration } from "../../shared/duration.ts";
import { Failure } from "../../shared/failure.ts";
import { shownName } from "../../shared/uri.ts";

const sizeUnits = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 } as const;

/** Less than this, and no container starts; it is Docker's limit too. */
const smallestMemory = 6 * sizeUnits.m;

/** Node.js waits no longer; in seconds. */
const longestTime = 24 * 24 * 60 * 60;

const usage = (detail: string) => new Failure("usage", { detail });

const wrong = (text: string, wanted: string) => usage(`"${shownName(text)}" is not ${wanted}`);

/** The same reader of a text, whose error says of which flag or field the text is. */
export const named =
  <T, From = string>(name: string, parse: (text: From) => T) =>
  (text: From): T => {
    try {
      return parse(text);
    } catch (thrown) {
      if (thrown instanceof Failure) thrown.detail = `${name}: ${thrown.detail}`;
      throw thrown;
    }
  };

/** @returns bytes. */
export function parseSize(text: string): number {
  const [, amount, unit = "b"] = /^(\d{1,15})([bkmgt])?(?:i?b)?$/i.exec(text) ?? [];
  const bytes = Number(amount) * sizeUnits[unit.toLowerCase() as keyof typeof sizeUnits];
  if (!Number.isSafeInteger(bytes)) throw wrong(text, "a size: write a number and its unit, such as 512m");
  return bytes;
}

/** @returns bytes. */
export function parseMemory(text: string): number {
  const bytes = parseSize(text);
  if (bytes < smallestMemory) throw usage("a container needs at least 6m of memory");
  return bytes;
}

/** @returns seconds. */
export function parseDuration(text: string): number {
  const seconds = readDuration(text) ?? 0;
  if (seconds === 0 || seconds > longestTime) {
    throw wrong(text, "a time: write a number and its unit, such as 90s or 10m, and at most 24d");
  }
  return seconds;
}

export function parseCpus(text: string): number {
  const cpus = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  // The kernel's smallest quota is a millisecond of each tenth of a second.
  if (cpus < 0.01) throw wrong(text, "a number of CPUs: write a number such as 1.5, and at least 0.01");
  return cpus;
}

export function parsePids(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text))
    throw wrong(text, "a number of processes: write a whole number from 1 on");
  return Number(text);
}

/** Permissions in octal. */
export function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw wrong(text, "a mode: write three octal digits, such as 0440");
  return Number.parseInt(text, 8);
}

export const writeMode = (mode: number): string => mode.toString(8).padStart(4, "0");
