/** What a run can leave on this host, looked for as root would. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Every place that a run, or a tool that it starts, could write to. */
const places = ["/var", "/run", "/tmp", "/dev/shm"];

/** A value that a test makes up is in no file that was last changed before; file systems count in ticks of a clock. */
const begin = (Date.now() - 1000) / 1000;

/**
 * Names of the files there that contain one of these texts, among those that were changed since this process began:
 * what else a host has may be too much to read. The texts go in by standard input, not by argument.
 */
export async function filesContaining(texts: readonly string[], within = places): Promise<string[]> {
  const changed = ["-type", "f", "-newerct", `@${begin}`, "-print0"];
  const files = (await outputOf("find", [...within, ...changed])).split("\0").filter(Boolean);
  const found: string[] = [];
  for (let at = 0; at < files.length; at += 1000) {
    const some = files.slice(at, at + 1000);
    found.push(await outputOf("grep", ["-laF", "-f", "-", "--", ...some], `${texts.join("\n")}\n`));
  }
  return found.flatMap((names) => names.split("\n").filter(Boolean));
}

/** What it prints; files that it cannot read, or that go meanwhile, are no matter. */
async function outputOf(program: string, args: readonly string[], input = ""): Promise<string> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "ignore"] });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
  });
  // It may have ended before it reads.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  await once(child, "close");
  return printed;
}

/** The processes of which `file` in /proc contains the text. */
export function processesContaining(file: "cmdline" | "environ" | "mountinfo", text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/${file}`).includes(text);
      } catch {
        return false; // It ended meanwhile.
      }
    })
    .map(Number);
}

export const runs = "/var/lib/claimcheck/runs";

/** The mounts of runs that this host sees. */
export function mounts(): string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => line.includes(`${runs}/`));
}

/** What is left of runs: their folders, cgroups, mounts and processes. Empty when all is clean. */
export function remains(): string[] {
  return [
    ...(existsSync(runs) ? readdirSync(runs).map((run) => `${runs}/${run}`) : []),
    ...cgroups(),
    ...mounts(),
    ...processesContaining("cmdline", "supervisor.pl").map((pid) => `process ${pid}`),
  ];
}

function cgroups(): string[] {
  const root = "/sys/fs/cgroup";
  const parents = [root, ...readdirSync(root).map((name) => `${root}/${name}`)].map(
    (path) => `${path}/claimcheck`,
  );
  return parents.filter(existsSync).flatMap((parent) =>
    readdirSync(parent, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${parent}/${name}`),
  );
}

/** Asks again and again, giving way in between, until the condition holds; the test's own time limit is the end. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => execFile("true", resolve));
}
