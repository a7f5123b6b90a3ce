/** Files that a command line names. Each kind has a limit, because a path can lead to what never ends. */

import { readUpTo } from "../../sdk/typescript/env-file.ts";
import { Failure } from "../../shared/failure.ts";

/** In bytes. */
export const limits = {
  variables: 1024 * 1024,
  handle: 64 * 1024,
  /** What providers may give, too. */
  value: 1024 * 1024,
  script: 16 * 1024 * 1024,
  /** A step may bring 16 MiB of files, in base64. */
  plan: 64 * 1024 * 1024,
} as const;

/**
 * @param name what the user wrote: the path, or a flag before it.
 * @throws {Failure} `usage`.
 */
export function readNamed(name: string, path: string, limit: number): Uint8Array {
  try {
    return readUpTo(path, limit);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === undefined ? `has more than ${limit} bytes` : `cannot be read (${code})`;
    throw new Failure("usage", { detail: `${name} ${why}`, cause });
  }
}
