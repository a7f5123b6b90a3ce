/**
 * G8: what Claimcheck does with the plaintext is nowhere on this host, neither while the container runs nor after
 * `kill -9`, at whatever moment.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { filesContaining, mounts, processesContaining, remains, runs, until } from "../parts/host.ts";
import { image, printed, start } from "../support/command.ts";

/** A value that nothing else on this host contains, and the forms that a file could have it in. */
function uniqueSecret() {
  const value = `claimcheck-${randomBytes(16).toString("hex")}`;
  const bytes = Buffer.from(value);
  return { value, forms: [value, bytes.toString("base64").slice(0, -4), bytes.toString("hex")] };
}

const args = ["run", "--secret-env", "MY_SECRET=env://API_TOKEN", image, "--", "sh", "-c"];

/** The arguments of the command's last act, as /proc shows them. */
const sleep = "sleep\u00001000";

/** Uses the value without writing it anywhere, says so, and waits for its end. */
const useAndSleep = 'test "${#MY_SECRET}" = 43 && echo ready && exec sleep 1000';

test("while the container runs, the value is in no file and on no command line", async () => {
  const { value, forms } = uniqueSecret();
  const running = start([...args, useAndSleep], { env: { API_TOKEN: value } });
  await sleeps(running);

  expect(await filesContaining(forms)).toEqual([]);
  expect(mounts()).toEqual([]);
  // Nor where only the supervisor sees it: it was unlinked before the command's first instruction.
  expect(await filesContaining(forms, [`/proc/${findSupervisor()}/root${runs}`])).toEqual([]);
  expect(processesContaining("cmdline", value)).toEqual([]);
  // In nobody's environment but the command's own, which the user gave it, and the container's.
  const holders = processesContaining("environ", value).map(commandOf);
  expect(holders.sort()).toEqual(["node", "sleep"]);

  running.child.kill("SIGKILL");
  await running.finished;
  await until(() => remains().length === 0);
  expect(await filesContaining(forms)).toEqual([]);
});

test("secret files and standard input are nowhere on the host either, nor is what they were mounted on", async () => {
  const [file, input] = [uniqueSecret(), uniqueSecret()];
  const forms = [...file.forms, ...input.forms];
  const flags = ["--secret-file", "/srv/new/token=env://FILE", "--secret-stdin", "env://INPUT"];
  const use = 'test "$(cat /srv/new/token)" != "$(cat)" && echo ready && exec sleep 1000';
  const running = start(["run", ...flags, image, "--", "sh", "-c", use], {
    env: { FILE: file.value, INPUT: input.value },
  });
  await sleeps(running);

  expect(await filesContaining(forms)).toEqual([]);
  expect(await filesContaining(forms, [`/proc/${findSupervisor()}/root${runs}`])).toEqual([]);
  for (const { value } of [file, input]) {
    expect(processesContaining("cmdline", value)).toEqual([]);
    expect(processesContaining("environ", value).map(commandOf)).toEqual(["node"]);
  }
  running.child.kill("SIGKILL");
  await running.finished;
  await until(() => remains().length === 0);
  expect(await filesContaining(forms)).toEqual([]);
});

test("the search finds what a container writes, so that finding nothing means something", async () => {
  const { value, forms } = uniqueSecret();
  const write = 'printf %s "$MY_SECRET" > /root/leak && echo ready && exec sleep 1000';
  const running = start([...args, write], { env: { API_TOKEN: value } });
  await sleeps(running);
  expect(await filesContaining(forms)).toEqual([expect.stringMatching(/\/upper\/root\/leak$/)]);
  running.child.kill("SIGKILL");
  await until(() => remains().length === 0);
  expect(await filesContaining(forms)).toEqual([]);
});

test("kill -9 of the executor, at moments all over a run, leaves neither the value nor anything else", async () => {
  const secrets = Array.from({ length: 24 }, uniqueSecret);
  for (const [index, { value }] of secrets.entries()) {
    const running = start([...args, "exec sleep 1000"], { env: { API_TOKEN: value } });
    // From before the supervisor is there until after the container has started, in steps of a few milliseconds:
    // the moment is not waited for but counted in processes started, so that no clock decides.
    for (let step = 0; step < index * 4; step++) execFileSync("true");
    running.child.kill("SIGKILL");
    await running.finished;
  }
  await until(() => remains().length === 0);
  expect(await filesContaining(secrets.flatMap(({ forms }) => forms))).toEqual([]);
});

test("kill -9 of the supervisor ends the container, and the next run sweeps up", async () => {
  const running = start([...args, useAndSleep], { env: { API_TOKEN: "x".repeat(43) } });
  await sleeps(running);
  process.kill(findSupervisor(), "SIGKILL");
  const { code, stderr } = await running.finished;
  expect(code).toBe(125);
  expect(stderr).toMatch(/\[runtime_failed\]\n$/);
  expect(processesContaining("cmdline", sleep)).toEqual([]);

  await start(["run", image, "true"]).finished;
  expect(remains()).toEqual([]);
});

test("a sweep leaves a live run alone", async () => {
  const untilTold = "trap 'ls / && exit 5' TERM; echo ready; while :; do sleep 0.1; done";
  const running = start([...args, untilTold], { env: { API_TOKEN: "a-value-of-no-interest" } });
  await printed(running, "ready");
  await start(["run", image, "true"]).finished;
  running.child.kill("SIGTERM");
  const finished = await running.finished;
  expect(finished.code).toBe(5);
  expect(finished.stdout).toContain("bin");
});

test("neither the command nor what it starts leaves a core file or wakes a core handler", async () => {
  const running = start([...args, "echo ready; exec sleep 1000"], {
    env: { API_TOKEN: "a-value-of-no-interest" },
  });
  await sleeps(running);
  const family = [running.child.pid as number, ...processesContaining("cmdline", "supervisor.pl")];
  const sleeping = processesContaining("cmdline", sleep);
  for (const pid of [...family, ...sleeping]) {
    const limits = readFileSync(`/proc/${pid}/limits`, "utf8");
    expect(limits).toMatch(/^Max core file size +1 +1 +bytes/m);
  }
  running.child.kill("SIGKILL");
  await until(() => remains().length === 0);
});

/** Resolves once the command has said what it has to say and has become `sleep`. */
async function sleeps(running: ReturnType<typeof start>): Promise<void> {
  await printed(running, "ready");
  await until(() => processesContaining("cmdline", sleep).length === 1);
}

function findSupervisor(): number {
  return processesContaining("cmdline", "supervisor.pl").find((pid) =>
    commandOf(pid).startsWith("supervisor"),
  ) as number;
}

function commandOf(pid: number): string {
  const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  return name === "MainThread" ? "node" : name;
}
