/** The `claimcheck` command as a user starts it: a process of its own, from the sources. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

/** What setup.sh builds: busybox and nothing else. */
export const image = "localhost/claimcheck-busybox:latest";

export const entry = fileURLToPath(new URL("../../bin/claimcheck.cjs", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Settings {
  /** Added to the few variables that every command gets. */
  readonly env?: Record<string, string>;
  /** Instead of the sources' entry. */
  readonly entry?: string;
  readonly node?: string;
  /** Whether the test writes to its standard input. */
  readonly input?: boolean;
}

// A state folder of its own: tests neither use nor leave the root key or the cache of whoever runs them.
const stateHome = mkdtempSync(join(tmpdir(), "claimcheck-test-"));

export const start = (args: readonly string[], settings: Settings = {}) =>
  startProgram(settings.node ?? process.execPath, ["--", settings.entry ?? entry, ...args], settings);

/** What processes wait with. */
const waits = "select,pselect6,poll,ppoll,epoll_wait,epoll_pwait,wait4,waitid,read";

/**
 * The command with all that it starts, its supervisors and runtimes among it, and each of their waits begins so many
 * microseconds late, so that a program which can miss a signal or a child's end just before a wait misses it. strace is not its parent.
 */
export function startDelayed(args: readonly string[], delay: number, settings: Settings = {}) {
  const tracing = ["-D", "--seccomp-bpf", "-f", "-qq", "-o", "/dev/null"];
  const injected = ["-e", `trace=${waits}`, "-e", `inject=${waits}:delay_enter=${delay}`];
  return startProgram("strace", [...tracing, ...injected, process.execPath, "--", entry, ...args], settings);
}

/**
 * A shell script, at a terminal of its own as a user's is, in which `claimcheck` is the command. What is written to
 * its standard input is typed.
 */
export function startAtTerminal(script: string, settings: Settings = {}) {
  const command = `claimcheck() { "$NODE" -- "$ENTRY" "$@"; }\n${script}`;
  return startProgram("script", ["--quiet", "--flush", "--return", "--command", command, "/dev/null"], {
    ...settings,
    env: { NODE: process.execPath, ENTRY: entry, SHELL: "/bin/sh", ...settings.env },
    input: true,
  });
}

export function startProgram(program: string, args: readonly string[], settings: Settings) {
  const child = spawn(program, args, {
    env: {
      PATH: process.env.PATH ?? "",
      HOME: process.env.HOME ?? "/root",
      XDG_STATE_HOME: stateHome,
      CLAIMCHECK_CACHE_DIR: join(stateHome, "cache"),
      ...settings.env,
    },
    stdio: [settings.input ? "pipe" : "ignore", "pipe", "pipe"],
  });
  // A test that fails leaves nothing running behind that would fail the next one too.
  onTestFinished(() => void child.kill("SIGKILL"));
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]?.setEncoding("utf8").on("data", (text: string) => {
      output[stream] += text;
      child.emit("output");
    });
  }
  const finished = once(child, "close").then(([code]): Finished => ({ code, ...output }));
  return { child, output, finished };
}

export function claimcheck(args: readonly string[], settings?: Settings): Promise<Finished> {
  return start(args, settings).finished;
}

/** Resolves once a started command has printed this; rejects when it ends without. */
export async function printed(
  started: { child: ChildProcess; output: { stdout: string; stderr: string } },
  text: string,
): Promise<void> {
  const seen = () => started.output.stdout.includes(text) || started.output.stderr.includes(text);
  while (!seen()) {
    if (started.child.exitCode !== null) throw new Error(`ended without "${text}": ${started.output.stderr}`);
    await Promise.race([once(started.child, "output"), once(started.child, "close")]);
  }
}
