/**
 * A lock on a file is flock(2) and belongs to this process's open file: the kernel lets go of it when the process
 * ends, in whatever way, and no number that could come to mean another process is written anywhere. Node.js has no
 * call for it, but the program of that name locks the open file that it inherits, and the lock stays when the program
 * has ended.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";

interface LockSettings {
  /** Waits until this ends the wait; otherwise there is none. */
  readonly until?: AbortSignal;
  /** Where the program is looked for. */
  readonly path?: string;
}

/**
 * @returns false when somebody else holds it.
 * @throws when it cannot be had at all; why is in the message.
 */
export async function lock(
  file: FileHandle,
  { until, path = "/usr/local/bin:/usr/bin:/bin" }: LockSettings = {},
): Promise<boolean> {
  const inherited = 3;
  const program = spawn("flock", ["-x", ...(until ? [] : ["-n"]), String(inherited)], {
    stdio: ["ignore", "ignore", "ignore", file.fd],
    env: { PATH: path },
    ...(until && { signal: until }),
  });
  const [code] = await once(program, "close").catch((cause: NodeJS.ErrnoException) => {
    const reason =
      cause.code === "ENOENT"
        ? "the program flock is missing; install util-linux"
        : `flock cannot be run (${cause.code})`;
    throw new Error(reason, { cause });
  });
  if (code === 0) return true;
  if (code === 1) return false;
  throw new Error(`flock ended with ${code}`);
}
