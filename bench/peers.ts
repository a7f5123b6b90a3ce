// Other programs over the same log and the same secrets. What is not on the PATH is left out with a sentence.

import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** One peer on one set of secrets: a figure in MB/s. */
export interface Peer {
  readonly name: string;
  measure(secretsFile: string): number;
}

export interface Peers {
  readonly peers: Peer[];
  /** Why some are not there. */
  readonly missing: string[];
  /** Where to put secrets and the log; gone after close(). */
  readonly folder: string;
  close(): void;
}

const source = (path: string) => fileURLToPath(new URL(`peers/${path}`, import.meta.url));

/** Builds what has to be built, in a temporary folder. */
export function findPeers(log: Uint8Array): Peers {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bench-"));
  const logFile = join(folder, "log");
  writeFileSync(logFile, log);
  const peers: Peer[] = [];
  const missing: string[] = [];
  const has = (program: string) => spawnSync(program, ["--version"], { stdio: "ignore" }).error === undefined;

  /** Wall time of a whole process, the page cache warm; exit code 1 is "nothing found". */
  function timed(program: string, args: string[]): number {
    const start = performance.now();
    const { status, error } = spawnSync(program, args, {
      stdio: "ignore",
      env: { ...process.env, LC_ALL: "C" },
    });
    if (error || (status ?? 2) > 1)
      throw new Error(`${program} failed: ${error?.message ?? `exit code ${status}`}`);
    return log.length / 1e3 / (performance.now() - start);
  }

  if (has("rg")) {
    peers.push({
      name: "ripgrep -c -F -f",
      measure: (file) => timed("rg", ["-a", "-c", "-F", "-f", file, logFile]),
    });
  } else missing.push("ripgrep: install the Debian package ripgrep");
  if (has("grep")) {
    peers.push({
      name: "GNU grep -c -F -f",
      measure: (file) => timed("grep", ["-a", "-c", "-F", "-f", file, logFile]),
    });
  } else missing.push("grep: not on the PATH");
  if (has("sed")) {
    peers.push({
      name: "sed s/…/***/g",
      measure: (file) => timed("sed", ["-n", "-f", `${file}.sed`, logFile]),
    });
  } else missing.push("sed: not on the PATH");

  const lastLine = (program: string, args: string[]) =>
    execFileSync(program, args, { encoding: "utf8" }).trim().split("\n").at(-1)!.split(" ").map(Number);

  if (spawnSync("go", ["version"], { stdio: "ignore" }).error === undefined) {
    const program = join(folder, "replacer");
    execFileSync("go", ["build", "-o", program, source("replacer.go")], { stdio: "pipe" });
    peers.push({
      name: "Go strings.Replacer",
      measure: (file) => lastLine(program, [logFile, file, "1"])[0]!,
    });
  } else missing.push("Go strings.Replacer: install Go");

  if (has("cargo")) {
    const crate = join(folder, "aho-corasick");
    cpSync(source("aho-corasick"), crate, { recursive: true });
    const built = spawnSync("cargo", ["build", "--release", "--quiet"], { cwd: crate, encoding: "utf8" });
    if (built.status === 0) {
      const program = join(crate, "target", "release", "aho-corasick-peer");
      peers.push({
        name: "Rust aho-corasick, find only",
        measure: (file) => lastLine(program, [logFile, file, "1"])[0]!,
      });
      peers.push({
        name: "Rust stream_replace_all",
        measure: (file) => lastLine(program, [logFile, file, "1"])[1]!,
      });
    } else missing.push(`Rust aho-corasick: ${built.stderr.trim().split("\n")[0]}`);
  } else missing.push("Rust aho-corasick: install Rust");

  return { peers, missing, folder, close: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Writes the secrets as the peers read them, one a line, and as a sed script. */
export function writeSecrets(folder: string, secrets: readonly Uint8Array[]): string {
  const file = join(folder, `secrets-${secrets.length}`);
  const lines = secrets.map((secret) => Buffer.from(secret).toString("latin1"));
  writeFileSync(file, `${lines.join("\n")}\n`);
  writeFileSync(`${file}.sed`, lines.map((line) => `s/${line}/***/g\n`).join(""));
  return file;
}
