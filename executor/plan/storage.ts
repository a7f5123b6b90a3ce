/** How much a run may write, as people write it. */
import { Failure } from "../../shared/failure.ts";
import type { Storage } from "./plan.ts";
import { parseSize } from "./quantities.ts";

/** Bytes: less holds no file system that is of use, and Linux's own file systems have no larger files. */
const smallest = 16 * 1024 ** 2;
const largest = 8 * 1024 ** 4;

/** Bytes for each inode: as mke2fs(8) has them, and at least. */
const usualShare = 16 * 1024;
const smallestShare = 4 * 1024;

const usage = (detail: string) => new Failure("usage", { detail });

/** Where it is not said how many. */
export const usualInodes = (size: number): number => Math.floor(size / usualShare);

interface Written {
  readonly size: string;
  readonly inodes?: number | undefined;
}

/** @throws {Failure} `usage`. */
export function toStorage({ size: text, inodes }: Written): Storage {
  const size = parseSize(text);
  if (size < smallest || size > largest) throw usage("the size is at least 16m and at most 8t");
  if (inodes === undefined) return { size };
  const most = Math.floor(size / smallestShare);
  if (!Number.isSafeInteger(inodes) || inodes < 1 || inodes > most) {
    throw usage(
      `the number of inodes is a whole number from 1 to ${most}, which is one for each 4k of the size`,
    );
  }
  return { size, inodes };
}

/** Of the flags: `size=SIZE` and `inodes=NUMBER`, in docker's and podman's words. */
export function parseStorageOptions(options: readonly string[]): Storage {
  const given = new Map(options.map(splitOption));
  const unknown = [...given.keys()].find((name) => name !== "size" && name !== "inodes");
  if (unknown !== undefined) throw usage(`there is no ${unknown}; write size=SIZE or inodes=NUMBER`);
  const size = given.get("size");
  if (size === undefined) throw usage("inodes=NUMBER needs size=SIZE too");
  const inodes = given.get("inodes");
  return toStorage({
    size,
    ...(inodes !== undefined && { inodes: /^\d+$/.test(inodes) ? Number(inodes) : 0 }),
  });
}

function splitOption(option: string): [name: string, value: string] {
  const at = option.indexOf("=");
  return at < 0 ? [option, ""] : [option.slice(0, at), option.slice(at + 1)];
}
