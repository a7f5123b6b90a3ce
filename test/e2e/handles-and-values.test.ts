/** `claimcheck run` with handles and values that it is given beside a plan or a command line. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image } from "../support/command.ts";
import { startDevBroker } from "../support/dev-broker.ts";
import { makeFolder } from "../support/served.ts";

afterEach(() => {
  expect(remains()).toEqual([]);
});

const plan = (script: string) =>
  JSON.stringify({
    version: 1,
    image,
    steps: [{ args: ["sh", "-c", script], secretEnv: { A: { handle: "TOKEN" } } }],
  });

/** A handle for the first of two plans, bound to the key that this user keeps. */
async function setUp() {
  const { env } = await startDevBroker({ API_TOKEN: "guessme" });
  const folder = makeFolder({ "plan.json": plan('echo "$A"'), "other.json": plan('echo "$A" | rev') });
  const file = (name: string) => join(folder, name);
  const { stdout: jkt } = await claimcheck(["executor", "key"], { env });
  const bound = ["--jkt", jkt.trim(), "--plan", file("plan.json")];
  const { stdout, stderr } = await claimcheck(["issue", ...bound, "TOKEN=env://API_TOKEN"], { env });
  expect(stderr).toBe("");
  writeFileSync(file("handle"), stdout);
  return { env, file };
}

test("a handle for one plan runs it, and is refused by every other", async () => {
  const { env, file } = await setUp();
  const given = ["--handle", `TOKEN=@${file("handle")}`];
  const other = await claimcheck(["run", ...given, "--plan", file("other.json")], { env });
  expect(other).toMatchObject({ code: 125, stdout: "" });
  expect(other.stderr).toMatch(/\[plan_mismatch\]\n$/);
  const onCommandLine = await claimcheck(["run", ...given, image, "--", "true"], { env });
  expect(onCommandLine.stderr).toMatch(/\[plan_mismatch\]\n$/);
  expect(await claimcheck(["run", ...given, "--plan", file("plan.json")], { env })).toEqual({
    code: 0,
    stdout: "***\n",
    stderr: "",
  });
});

test("the environment gives handles too", async () => {
  const { env, file } = await setUp();
  const handle = readFileSync(file("handle"), "utf8").trim();
  const finished = await claimcheck(["run", "--plan", file("plan.json")], {
    env: { ...env, CLAIMCHECK_HANDLE_TOKEN: handle },
  });
  expect(finished).toEqual({ code: 0, stdout: "***\n", stderr: "" });
});

test("a handle is masked like the value that it stands for", async () => {
  const { env } = await startDevBroker({ API_TOKEN: "guessme" });
  const { stdout: handle } = await claimcheck(["issue", "env://API_TOKEN"], { env });
  const finished = await claimcheck(
    ["run", "-e", `H=${handle.trim()}`, image, "--", "sh", "-c", "echo $H $A"],
    {
      env: { ...env, CLAIMCHECK_HANDLE_A: handle },
    },
  );
  expect(finished).toEqual({ code: 0, stdout: "*** ***\n", stderr: "" });
});

test("values are wrapped and given like any secret, also at an embedded broker", async () => {
  const folder = makeFolder({
    token: "brought along",
    "plan.json": JSON.stringify({
      version: 1,
      image,
      steps: [
        { args: ["cat", "/run/token"], secretFiles: [{ path: "/run/token", value: "TOKEN" }] },
        { args: ["sh", "-c", 'echo "$A"'], secretEnv: { A: { value: "TOKEN" } } },
      ],
    }),
  });
  const given = ["--value", `TOKEN=@${join(folder, "token")}`];
  const planned = await claimcheck(["run", ...given, "--plan", join(folder, "plan.json")]);
  expect(planned).toMatchObject({ code: 0, stdout: "******\n" });
  const alone = await claimcheck(["run", ...given, image, "--", "sh", "-c", 'echo "$TOKEN ${#TOKEN}"']);
  expect(alone).toEqual({ code: 0, stdout: "*** 13\n", stderr: "" });
});

test("the proof key is made once, for its owner alone", async () => {
  const env = { XDG_STATE_HOME: makeFolder({}) };
  const { stdout } = await claimcheck(["executor", "key"], { env });
  expect(stdout).toMatch(/^[A-Za-z0-9_-]{43}\n$/);
  expect((await claimcheck(["executor", "key"], { env })).stdout).toBe(stdout);
  expect(statSync(join(env.XDG_STATE_HOME, "claimcheck", "proof-key")).mode & 0o777).toBe(0o600);
});

test("what is given is given in files, and never as an argument", async () => {
  for (const flag of ["--handle", "--value"]) {
    const { code, stderr } = await claimcheck(["run", flag, "TOKEN=hunter2", image]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/takes NAME=@FILE.*\[usage\]\n$/);
    expect(stderr).not.toContain("hunter2");
  }
});
