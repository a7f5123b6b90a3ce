/**
 * One writer a file. The lock is flock(2) on the log itself and belongs to this process's open file: the kernel lets
 * go of it when the process ends, in whatever way, and no number that could come to mean another process is written
 * anywhere. Node.js has no call for it, but the program of that name locks the open file that it inherits, and the
 * lock stays when the program has ended.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import { ClaimcheckError } from "../../shared/errors.ts";

/**
 * @param path where the program is looked for.
 * @returns false when somebody else holds it.
 * @throws {ClaimcheckError} `audit_unavailable` when it cannot be had at all.
 */
export async function lock(file: FileHandle, path = "/usr/local/bin:/usr/bin:/bin"): Promise<boolean> {
  const inherited = 3;
  const program = spawn("flock", ["-x", "-n", String(inherited)], {
    stdio: ["ignore", "ignore", "ignore", file.fd],
    env: { PATH: path },
  });
  const [code] = await once(program, "close").catch((cause: NodeJS.ErrnoException) => {
    const detail =
      cause.code === "ENOENT"
        ? "the program flock is missing; install util-linux"
        : `flock cannot be run (${cause.code})`;
    throw new ClaimcheckError("audit_unavailable", { detail, cause });
  });
  if (code === 0) return true;
  if (code === 1) return false;
  throw new ClaimcheckError("audit_unavailable", { detail: `flock ended with ${code}` });
}
