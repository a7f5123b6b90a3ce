import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { processesContaining, remains, until } from "../parts/host.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";

const echo = ["run", "--secret-env", "MY_SECRET=env://API_TOKEN", image, "--", "sh", "-c"];
const withToken = { env: { API_TOKEN: "guessme" } };

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("a secret goes into a container, and what the container prints of it is masked", async () => {
  const finished = await claimcheck([...echo, "echo this is the secret: $MY_SECRET"], withToken);
  expect(finished).toEqual({ code: 0, stdout: "this is the secret: ***\n", stderr: "" });
});

test("the container has the value byte for byte", async () => {
  const value = ` "\\ü€\u2028${"x".repeat(100)}\n\ttail\n`;
  const finished = await claimcheck([...echo, 'printf %s "$MY_SECRET" | sha256sum'], {
    env: { API_TOKEN: value },
  });
  expect(finished.stdout).toBe(`${createHash("sha256").update(value).digest("hex")}  -\n`);
});

test("an empty variable is an empty secret", async () => {
  const finished = await claimcheck([...echo, 'echo "[${MY_SECRET-unset}]"'], { env: { API_TOKEN: "" } });
  expect(finished.stdout).toBe("[]\n");
});

test("standard error is masked too, and the two streams stay apart", async () => {
  const finished = await claimcheck([...echo, "echo out $MY_SECRET; echo err $MY_SECRET >&2"], withToken);
  expect(finished).toMatchObject({ stdout: "out ***\n", stderr: "err ***\n" });
});

test("a program may open its output by name", async () => {
  const finished = await claimcheck(
    [...echo, "echo out $MY_SECRET > /dev/stdout; echo err $MY_SECRET > /dev/stderr"],
    withToken,
  );
  expect(finished).toMatchObject({ code: 0, stdout: "out ***\n", stderr: "err ***\n" });
});

test("encodings of the value are masked, as are the token and the handle", async () => {
  const { stdout } = await claimcheck([...echo, 'printf %s "$MY_SECRET" | base64'], {
    env: { API_TOKEN: "a-longer-value-for-base64" },
  });
  expect(stdout).toBe("***\n");
});

test.each([0, 1, 7, 125, 255])("the command's exit code %i is the run's", async (code) => {
  expect((await claimcheck(["run", image, "--", "sh", "-c", `exit ${code}`])).code).toBe(code);
});

test("without a command the image's own runs, and the image's environment is there", async () => {
  expect(await claimcheck(["run", image])).toMatchObject({ code: 0, stdout: "", stderr: "" });
  const { stdout } = await claimcheck(["run", image, "env"]);
  expect(stdout).toContain("PATH=/usr/local/sbin:");
  expect(stdout).toContain("HOME=/root");
});

test("nothing of the caller's environment is in the container", async () => {
  const { stdout } = await claimcheck(["run", image, "env"], { env: { OTHER: "of the host" } });
  expect(stdout).not.toContain("OTHER");
});

test("SIGTERM reaches the command, which ends as it likes", async () => {
  const running = start([
    "run",
    image,
    "sh",
    "-c",
    "trap 'echo got it; exit 9' TERM; echo up; while :; do sleep 0.1; done",
  ]);
  await printed(running, "up");
  running.child.kill("SIGTERM");
  expect(await running.finished).toMatchObject({ code: 9, stdout: "up\ngot it\n" });
});

test("a command that ignores SIGINT is killed by the second one", async () => {
  const running = start([
    "run",
    image,
    "sh",
    "-c",
    "trap 'echo no' INT; echo up; while :; do sleep 0.1; done",
  ]);
  await printed(running, "up");
  running.child.kill("SIGINT");
  await printed(running, "no");
  running.child.kill("SIGINT");
  expect((await running.finished).code).toBe(137);
});

test("SIGINT while the container is being made ends the run", async () => {
  const running = start(["run", "--secret-env", "A=env://API_TOKEN", image, "sleep", "1000"], withToken);
  await until(() => processesContaining("cmdline", "supervisor.pl /").length > 0);
  // Two, because it may be made by now, and `sleep` as process 1 ignores the first one under any engine.
  running.child.kill("SIGINT");
  running.child.kill("SIGINT");
  expect([130, 137]).toContain((await running.finished).code);
  await claimcheck(["run", image, "true"]);
});

test("a runtime that hangs is given up at the second signal", async () => {
  const runtime = join(mkdtempSync(join(tmpdir(), "claimcheck-runtime-")), "hangs");
  writeFileSync(runtime, "#!/bin/sh\nexec sleep 1001\n", { mode: 0o755 });
  const running = start(["run", "--runtime", runtime, image, "true"]);
  await until(() => processesContaining("cmdline", "sleep\u00001001").length === 1);
  running.child.kill("SIGINT");
  running.child.kill("SIGTERM");
  expect([130, 143]).toContain((await running.finished).code);
  expect(processesContaining("cmdline", "sleep\u00001001")).toEqual([]);
  // Waiting for nobody, it left its folder to the next run.
  await claimcheck(["run", image, "true"]);
});

test("a reader that goes away ends the command as a broken pipe would", async () => {
  const running = start(["run", image, "sh", "-c", "yes"]);
  await printed(running, "y\n");
  running.child.stdout?.destroy();
  const { code } = await running.finished;
  expect([0, 1, 141]).toContain(code);
});

test("a command may close its output and go on", async () => {
  const finished = await claimcheck([
    "run",
    image,
    "sh",
    "-c",
    "echo last; exec >&- 2>&-; sleep 0.2; exit 4",
  ]);
  expect(finished).toEqual({ code: 4, stdout: "last\n", stderr: "" });
});

test("a first use of an image and a later one give the same", async () => {
  const containers = execFileSync("buildah", ["containers", "--format", "{{.ContainerName}}"])
    .toString()
    .split("\n");
  const shared = containers.filter((name) => /^claimcheck-[0-9a-f]{64}$/.test(name));
  if (shared.length > 0) execFileSync("buildah", ["rm", ...shared]);
  const runs = await Promise.all([1, 2, 3].map(() => claimcheck([...echo, "echo $MY_SECRET"], withToken)));
  for (const finished of runs) expect(finished).toEqual({ code: 0, stdout: "***\n", stderr: "" });
});

test("--audit has both decisions, and not the value", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-audit-")), "audit.jsonl");
  const value = randomBytes(12).toString("hex");
  await claimcheck(["run", "--audit", file, "--secret-env", "A=env://API_TOKEN", image, "true"], {
    env: { API_TOKEN: value },
  });
  const text = readFileSync(file, "utf8");
  expect(text).not.toContain(value);
  const records = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter(({ type }) => type === "decision");
  const rule = "embedded: this user's own secrets";
  expect(records).toMatchObject([
    { action: "issue", outcome: "issued", uri: "env://API_TOKEN", tenant: "local", rule },
    { action: "redeem", outcome: "released", uri: "env://API_TOKEN", masked: true },
  ]);
  expect(records[0].jti).toBe(records[1].jti);
});

test("an audit log that cannot be written releases nothing", async () => {
  const finished = await claimcheck(
    ["run", "--audit", "/dev/full", "--secret-env", "A=env://API_TOKEN", image, "sh", "-c", "echo ran"],
    withToken,
  );
  expect(finished).toMatchObject({ code: 125, stdout: "" });
  expect(finished.stderr).toMatch(/^claimcheck: .*\[state_unusable\]\n$/);
});

test("--no-masking shows the value, says so, and is on record", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-audit-")), "audit.jsonl");
  const args = ["--audit", file, ...echo.slice(1), "echo $MY_SECRET"];
  for (const [flags, env] of [
    [["--no-masking"], {}],
    [[], { CLAIMCHECK_NO_MASKING: "1" }],
  ] as const) {
    const finished = await claimcheck(["run", ...flags, ...args], { env: { ...withToken.env, ...env } });
    expect(finished).toEqual({
      code: 0,
      stdout: "guessme\n",
      stderr: "claimcheck: secrets are not masked in this output\n",
    });
  }
  expect(readFileSync(file, "utf8").match(/"masked":false/g)).toHaveLength(2);
});

test("a secret too short to be masked is refused, unless it is said that it may show", async () => {
  const short = { env: { API_TOKEN: "abc" } };
  const refused = await claimcheck([...echo, "echo $MY_SECRET"], short);
  expect(refused).toMatchObject({ code: 125, stdout: "" });
  expect(refused.stderr).toMatch(/^claimcheck: .*MY_SECRET.*\[secret_too_short\]\n$/);
  const shown = await claimcheck(
    ["run", "--short-secrets", "show", ...echo.slice(1), "echo $MY_SECRET"],
    short,
  );
  expect(shown.stdout).toBe("abc\n");
});
