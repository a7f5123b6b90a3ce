/** One writer a file: the lock is on the log itself. */
import type { FileHandle } from "node:fs/promises";
import { ClaimcheckError } from "../../shared/errors.ts";
import { lock as lockFile } from "../../shared/lock.ts";

/**
 * @param path where the program for it is looked for.
 * @returns false when somebody else holds it.
 * @throws {ClaimcheckError} `audit_unavailable` when it cannot be had at all.
 */
export async function lock(file: FileHandle, path?: string): Promise<boolean> {
  return lockFile(file, path === undefined ? {} : { path }).catch((cause: Error) => {
    throw new ClaimcheckError("audit_unavailable", { detail: cause.message, cause });
  });
}
