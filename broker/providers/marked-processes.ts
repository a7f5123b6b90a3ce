/**
 * The processes of a command, wherever they are: all of them inherit one variable, which Linux shows in /proc. A process
 * that empties its environment gets away.
 */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

export const markName = "CLAIMCHECK_COMMAND";

/** More than any command's own end takes; a command that starts processes faster than this looks at them gets away. */
const looks = 100;

/** On a busy host some process has always just ended: so many looks are enough where that alone leaves a doubt. */
const doubtfulLooks = 5;

/** In so many looks an environment is empty because it is, and not because an execve has not filled it yet. */
const emptyLooks = 10;

/** Kills what carries the mark, until a look has seen for certain that nothing does. */
export async function killMarked(mark: string): Promise<void> {
  if (process.platform !== "linux") return;
  // A process without the mark never gets it.
  const others = new Set<string>();
  const empty = new Map<string, number>();
  let doubtful = 0;
  for (let look = 0; look < looks && doubtful < doubtfulLooks; look++) {
    const processes = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
    const owners = await Promise.all(
      processes
        .filter((pid) => !others.has(pid))
        .map(async (pid) => {
          const owner = await ownerOf(pid, mark);
          // At once: in a moment it may have ended, and have started another one.
          if (owner === "mark") kill(Number(pid));
          if (owner === "empty") empty.set(pid, (empty.get(pid) ?? 0) + 1);
          const isOther = owner === "other" || owner === "ended" || empty.get(pid) === emptyLooks;
          if (isOther) others.add(pid);
          return owner;
        }),
    );
    if (owners.every((owner) => owner === "other")) return;
    doubtful = owners.every((owner) => owner === "other" || owner === "ended") ? doubtful + 1 : 0;
    // A busy host may leave a process in the middle of an execve for a while.
    if (owners.some((owner) => owner === "unknown" || owner === "empty"))
      await setTimeout(Math.min(look, 20));
  }
}

/**
 * Whose a process is. One that has just ended may have started another, which the list of processes does not have yet.
 * In the middle of an execve nobody can tell: the new program has no environment yet.
 */
async function ownerOf(pid: string, mark: string): Promise<"mark" | "other" | "ended" | "empty" | "unknown"> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, "latin1");
    if (environment !== "") return environment.split("\0").includes(mark) ? "mark" : "other";
    // proc_pid_stat(5): what follows the name, which may itself contain blanks and parentheses, is from field 3 on.
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [memory, end] = [23, 51].map((field) => fields[field - 3]);
    // A thread of the kernel has no memory either.
    if (memory === "0") return "ended";
    return end === "0" ? "unknown" : "empty";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Of others we may read nothing.
    return code === "ENOENT" || code === "ESRCH" ? "ended" : "other";
  }
}

export function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}
