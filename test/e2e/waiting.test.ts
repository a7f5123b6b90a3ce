/** What a run waits for has an end: readers that do not read, containers that cannot be made, pipes that never close. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { processesContaining, until } from "../parts/host.ts";
import { entry, image, printed, start, startProgram } from "../support/command.ts";
import { ask, open, planOf, startHost } from "../support/executor.ts";
import { makeFolder } from "../support/served.ts";

let marks = 0;

/** When all between a command and its reader is full: what those that have this in their arguments write grows no more. */
async function stuck(mark: string): Promise<void> {
  const writtenBy = (pid: number) => {
    try {
      return /^wchar: \d+$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[0];
    } catch {
      return "gone";
    }
  };
  let [written, times] = ["", 0];
  await until(() => {
    const now = processesContaining("cmdline", mark).map(writtenBy).join();
    times = now === written ? times + 1 : 0;
    written = now;
    return times > 50;
  });
}

/** A command that prints until its reader has had enough, which is soon. */
async function startUnread(flags: readonly string[], env: Record<string, string> = {}) {
  const mark = `unread${process.pid}-${++marks}`;
  const running = start(["run", ...flags, image, "--", "sh", "-c", `trap '' TERM; yes ${mark}`], { env });
  await printed(running, mark);
  running.child.stdout?.pause();
  await stuck(mark);
  const { child } = running;
  // While it ends a signal may still end it, as its exit code says.
  const exited = once(child, "exit").then(([code, signal]) =>
    signal ? 128 + osConstants.signals[signal as NodeJS.Signals] : (code as number),
  );
  return { child, exited };
}

describe("a reader that does not read", () => {
  test.each([
    ["", []],
    [", at a terminal", ["-t"]],
  ])("does not keep a run that is told to end again and again%s", async (_, flags) => {
    const { child, exited } = await startUnread(flags);
    // Again and again: two that come at once are one.
    await until(() => child.exitCode !== null || !child.kill("SIGTERM"));
    expect(await exited).toBe(143);
  });

  test.each([
    ["", []],
    [", at a terminal", ["-t"]],
  ])("does not keep a run whose time is over%s", async (_, flags) => {
    const { exited } = await startUnread(["--timeout", "3s", ...flags]);
    expect(await exited).toBe(124);
  });

  test("does not keep an executor's client that is told to end", async () => {
    const host = await startHost();
    const { child, exited } = await startUnread([], { CLAIMCHECK_EXECUTOR: host.socket });
    child.kill("SIGTERM");
    expect(await exited).toBe(143);
    await until(() => host.leftovers().length === 0);
  });

  test("keeps no place of an executor longer than its run may take", async () => {
    const host = await startHost({ fields: "limits: { runs: 1, waiting: 0 }" });
    const { request, answered } = open(host.socket, { plan: planOf({ script: "yes", timeout: "1s" }) });
    request.on("error", () => {});
    // It is there, and nobody reads it.
    await answered;
    let next = await ask(host.socket, { plan: planOf({ script: "echo next" }) });
    while (next.status === 503) next = await ask(host.socket, { plan: planOf({ script: "echo next" }) });
    expect(next.events.at(-1)).toEqual({ type: "end", code: 0 });
    request.destroy();
  });
});

test("a container that cannot be made has no longer than its step: the runtime reads a FIFO", async () => {
  const host = await startHost();
  const plan = planOf(
    { script: "rm -f /etc/passwd; mkdir -p /etc; mkfifo /etc/passwd" },
    { script: "true", user: "0", timeout: "2s" },
  );
  const { events } = await ask(host.socket, { plan });
  expect(events.at(-1)).toMatchObject({ type: "error", code: "timed_out", exitCode: 124 });
  host.executor.child.kill("SIGTERM");
  expect((await host.executor.finished).code).toBe(0);
});

describe("a container's output that somebody else holds", () => {
  /** A process of the host's as whoever was passed the descriptor over a socket would have it. */
  async function hold(mark: string): Promise<string> {
    await until(() => processesContaining("cmdline", mark).some(isInit));
    return `/proc/${processesContaining("cmdline", mark).find(isInit)}/fd/1`;
  }

  const isInit = (pid: number) => {
    try {
      closeSync(openSync(`/proc/${pid}/fd/1`, constants.O_WRONLY | constants.O_NONBLOCK));
      return true;
    } catch {
      return false;
    }
  };

  test("ends with the container, though it stays open", async () => {
    const host = await startHost();
    const mark = `90${process.pid}`;
    const running = ask(host.socket, { plan: planOf({ script: `exec sleep ${mark}`, timeout: "3s" }) });
    const held = openSync(await hold(`sleep\0${mark}`), constants.O_WRONLY | constants.O_NONBLOCK);
    onTestFinished(() => closeSync(held));
    expect((await running).events.at(-1)).toMatchObject({ type: "error", code: "timed_out" });
    await until(() => host.leftovers().length === 0);
  });

  test("ends with the container, though somebody goes on writing to it", async () => {
    const host = await startHost();
    const mark = `91${process.pid}`;
    const running = ask(host.socket, { plan: planOf({ script: `exec sleep ${mark}`, timeout: "3s" }) });
    const writing = spawn("sh", ["-c", `exec yes >"$1"`, "sh", await hold(`sleep\0${mark}`)]);
    onTestFinished(() => void writing.kill("SIGKILL"));
    expect((await running).events.at(-1)).toMatchObject({ type: "error", code: "timed_out" });
    await until(() => host.leftovers().length === 0);
  });
});

test("what a command printed last is all there, however much of it is still in the pipe when it ends", async () => {
  // A reader that takes its time: the pipe is full when the command is gone.
  const size = 900_000;
  const running = start(["run", image, "--", "sh", "-c", `head -c ${size} /dev/zero | tr '\\0' x`]);
  running.child.stdout?.pause();
  await until(() => processesContaining("cmdline", `head -c ${size}`).length <= 1);
  running.child.stdout?.resume();
  const { code, stdout } = await running.finished;
  expect({ code, size: stdout.length }).toEqual({ code: 0, size });
});

test("a state folder that cannot be made is an error, and not for ever", async () => {
  const env = { XDG_STATE_HOME: "/proc/nope", API_TOKEN: "guessme" };
  const { code, stderr } = await start(["run", "--secret-env", "A=env://API_TOKEN", image, "true"], { env })
    .finished;
  expect(code).toBe(125);
  expect(stderr).toMatch(/\[state_unusable\]\n$/);
});

test("a file whose name a layer has another use for fails no run that only has a cache", async () => {
  const plan = planOf({ script: "touch /.wh.x /made" }, { script: "ls -a / | grep -e wh.x -e made" });
  const file = join(makeFolder({ "plan.json": JSON.stringify(plan) }), "plan.json");
  for (let time = 0; time < 2; time++) {
    const { code, stdout, stderr } = await start(["run", "--plan", file]).finished;
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: ".wh.x\nmade\n" });
  }
  const kept = await start(["run", "--plan", file, "--on-leak", "fail"]).finished;
  expect(kept).toMatchObject({ code: 125, stderr: expect.stringContaining("[invalid_layer]") });
});

test("a process that somebody traces has ended some time before it can be waited for, and is waited for", async () => {
  // What strace watches has to take long enough for strace to be behind.
  const watched = ["--seccomp-bpf", "-f", "-e", "trace=execve,exit_group,pivot_root,clone,clone3,fork,vfork"];
  for (let count = 0; count < 20; count++) {
    const args = [...watched, "-o", "/dev/null", process.execPath, "--", entry, "run", image, "true"];
    const { code } = await startProgram("strace", args, {}).finished;
    expect(code).toBe(0);
  }
});
