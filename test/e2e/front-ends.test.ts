/** Chains from every front end, run: what comes back, what is masked, and what a failure says. */
import { execFile } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { container, RunError, secret, setSecret } from "../../sdk/typescript/claimcheck.ts";
import { remains, until } from "../parts/host.ts";
import { startRegistry, withoutTls } from "../parts/oci-registry.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";
import { startHost } from "../support/executor.ts";
import { commandFile, goModule, needPython, pythonSources, withoutGo } from "../support/front-ends.ts";
import { removeImageAfterwards } from "../support/made-image.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-front-ends-"));
const command = commandFile();
const sentence = "this is the secret: ***\n";
const base = container().from(image);
const sh = (script: string) => ["sh", "-c", script];

beforeAll(() => {
  process.env.API_TOKEN = "guessme";
  process.env.CLAIMCHECK_COMMAND = command;
  process.env.CLAIMCHECK_CACHE_DIR = join(folder, "cache");
});

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** As somebody in a shell does it. */
function inShell(script: string, env: Record<string, string> = {}) {
  const settings = {
    env: { ...process.env, PATH: `${join(command, "..")}:${process.env.PATH}`, ...env },
    cwd: folder,
  };
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile("sh", ["-c", script], settings, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

describe("the secret of the first example is masked", () => {
  test("in the shell", async () => {
    const script = `claimcheck shell <<'END'
container |
from ${image} |
with-secret-variable MY_SECRET env://API_TOKEN |
with-exec -- sh -c 'echo this is the secret: $MY_SECRET' |
stdout
END`;
    expect(await inShell(script)).toEqual({ code: 0, stdout: sentence, stderr: "" });
  });

  test("on the command line", async () => {
    const script = `claimcheck core container from --address=${image} \\
  with-secret-variable --name="MY_SECRET" --secret="env://API_TOKEN" \\
  with-exec --args="sh","-c",'echo this is the secret: $MY_SECRET' \\
  stdout`;
    expect(await inShell(script)).toEqual({ code: 0, stdout: sentence, stderr: "" });
  });

  test("in TypeScript", async () => {
    const said = await base
      .withSecretVariable("MY_SECRET", secret("env://API_TOKEN"))
      .withExec(sh("echo this is the secret: $MY_SECRET"))
      .stdout();
    expect(said).toBe(sentence);
  });

  test("in Python", async () => {
    needPython();
    const file = join(folder, "example.py");
    writeFileSync(
      file,
      `import asyncio
from claimcheck import RunError, container, secret, set_secret

async def main():
    base = container().from_("${image}").with_secret_variable("MY_SECRET", secret("env://API_TOKEN"))
    said, code = await asyncio.gather(
        base.with_exec(["sh", "-c", "echo this is the secret: $MY_SECRET"]).stdout(),
        base.with_exec(["sh", "-c", "exit 3"]).exit_code(),
    )
    print(said, end="")
    assert code == 3
    try:
        await base.with_mounted_secret("/t", set_secret("t", "from-python")).with_exec(["sh", "-c", "cat /t >&2; exit 4"]).sync()
    except RunError as error:
        print(error, error.code, error.exit_code, error.stderr)

asyncio.run(main())
`,
    );
    expect(await inShell(`python3 ${file}`, { PYTHONPATH: pythonSources })).toEqual({
      code: 0,
      stdout: `${sentence}step 1 of 1 ended with exit code 4 command_failed 4 ***\n`,
      stderr: "",
    });
  });

  test.skipIf(withoutGo)(withoutGo ?? "in Go", async () => {
    const { code, stdout, stderr } = await inShell(`cd ${goModule} && go test -count=1 ./...`, {
      CLAIMCHECK_TEST_IMAGE: image,
    });
    expect({ code, failures: code === 0 ? "" : stdout + stderr }).toEqual({ code: 0, failures: "" });
  });
});

test("chains run where CLAIMCHECK_EXECUTOR says, and answer in the same way", async () => {
  const { socket, sign, executor, leftovers: left } = await startHost();
  const env = { CLAIMCHECK_EXECUTOR: socket, CLAIMCHECK_TOKEN: await sign("job-1") };
  const steps = "with-exec sh -c 'echo no' | with-exec sh -c 'echo $A; exit 4'";
  const chain = `container | from ${image} | with-secret-variable A env://API_TOKEN | ${steps}`;
  expect(await claimcheck(["shell", "-c", `${chain} | stdout`], { env })).toMatchObject({
    code: 4,
    stdout: "***\n",
    stderr: expect.stringContaining("no\n"),
  });
  Object.assign(process.env, env);
  try {
    const failing = base
      .withMountedSecret("/run/token", setSecret("token", "from-this-program"))
      .withExec(sh("cat /run/token; exit 5"));
    expect(await failing.sync().catch((error) => error)).toMatchObject({ exitCode: 5, stdout: "***" });
    const refused = base.withMountedDirectory("/host", "/").withExec(["true"]);
    expect(await refused.sync().catch((error) => error)).toMatchObject({ name: "RunError", exitCode: 125 });
  } finally {
    for (const name of Object.keys(env)) delete process.env[name];
  }
  await until(() => left().length === 0);
  executor.child.kill("SIGTERM");
  await executor.finished;
});

describe("a chain in TypeScript", () => {
  test("has its results", async () => {
    const chain = base
      .withMountedSecret("/run/token", setSecret("token", "from-this-program"), { mode: "0444" })
      .withExec(sh("echo first; cat /run/token; echo err >&2"))
      .withExec(sh("echo out $PWD; printf 'err ' >&2; cat >&2; exit 3"), {
        stdin: secret("env://API_TOKEN"),
      });
    expect(await chain.exitCode()).toBe(3);
    const failure = await chain.sync().catch((error) => error);
    expect(failure).toBeInstanceOf(RunError);
    expect(failure).toMatchObject({
      code: "command_failed",
      exitCode: 3,
      stdout: "out /\n",
      stderr: "err ***",
    });
    expect(failure.message).toBe("step 2 of 2 ended with exit code 3");
    expect(await base.withExec(sh("echo a; echo b >&2")).stderr()).toBe("b\n");
  });

  test("can be gone on from anywhere, and runs side by side", async () => {
    const common = base.withEnvVariable("A", "1");
    const said = await Promise.all(
      ["x", "y"].map((letter) => common.withEnvVariable("B", letter).withExec(sh("echo $A$B")).stdout()),
    );
    expect(said).toEqual(["1x\n", "1y\n"]);
  });

  test("runs once what another has in common with it", async () => {
    const common = base.withExec(sh("cat /proc/sys/kernel/random/uuid > /made"));
    const chains = ["a", "b"].map((letter) => common.withExec(sh(`cat /made; echo ${letter}`)));
    const said = await Promise.all(chains.map((chain) => chain.stdout()));
    const [first, second] = said.map((text) => text.split("\n"));
    expect(second?.[0]).toBe(first?.[0]);
    expect([first?.[1], second?.[1]]).toEqual(["a", "b"]);
  });

  test("publishes what it made", async () => {
    const { host } = await startRegistry();
    const address = `${host}/made/by-a-chain:1`;
    const env = withoutTls(host);
    Object.assign(process.env, env);
    try {
      expect(await base.withExec(sh("echo made > /made")).publish(address)).toBe(address);
      const { stdout } = await claimcheck(["run", address, "cat", "/made"], { env });
      expect(stdout).toBe("made\n");
      removeImageAfterwards(address);
    } finally {
      for (const name of Object.keys(env)) delete process.env[name];
    }
  });

  test("tells a failure of Claimcheck's own by its code", async () => {
    const chain = base.withSecretVariable("A", secret("env://NOT_THERE")).withExec(["true"]);
    expect(await chain.sync().catch((error) => error)).toMatchObject({
      name: "RunError",
      code: "secret_not_found",
    });
    const missing = await base
      .withExec(["no-such-command"])
      .sync()
      .catch((error) => error);
    expect(missing).toMatchObject({ code: "command_not_found", exitCode: 127 });
  });
});

describe("what is wanted is on standard output alone", () => {
  const chain = `container | from ${image} | with-exec sh -c 'echo a; echo b >&2' | with-exec sh -c 'echo c; echo d >&2; exit 5'`;
  test.each([
    ["stdout", { code: 5, stdout: "c\n" }],
    ["stderr", { code: 5, stdout: "d\n" }],
    ["exit-code", { code: 0, stdout: "5\n" }],
    ["sync", { code: 5, stdout: "" }],
  ])("%s", async (verb, { code, stdout }) => {
    const finished = await claimcheck(["shell", "-c", `${chain} | ${verb}`]);
    const others = ["a", "b", "c", "d"].filter((line) => stdout !== `${line}\n`);
    expect(finished).toMatchObject({ code, stdout });
    expect(
      finished.stderr
        .split("\n")
        .filter((line) => /^.$/.test(line))
        .sort(),
    ).toEqual(others);
  });

  test("a pipeline that fails is the last one", async () => {
    const failing = `container | from ${image} | with-exec false | stdout`;
    expect(await claimcheck(["shell", "-c", `${failing}; secret env://A`])).toMatchObject({
      code: 1,
      stdout: "",
    });
  });
});

describe("claimcheck run --stdio", () => {
  const request = (script: string) =>
    `${JSON.stringify({ plan: { version: 1, image, steps: [{ args: sh(script) }] } })}\n`;
  const eventsOf = (stdout: string) =>
    stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));

  test("has an event for everything", async () => {
    const { child, finished } = start(["run", "--stdio"], { input: true });
    child.stdin?.write(request("echo a; exit 6"));
    const { code, stdout } = await finished;
    expect(code).toBe(0);
    expect(eventsOf(stdout)).toEqual([
      { type: "step", step: 0 },
      { type: "stdout", step: 0, data: "YQo=" },
      { type: "exit", step: 0, code: 6 },
      { type: "end", code: 6 },
    ]);
  });

  test("ends the run when its input ends", async () => {
    const started = start(["run", "--stdio"], { input: true });
    started.child.stdin?.write(request("echo started; sleep 1000"));
    await printed(started, "c3RhcnRlZAo=");
    started.child.stdin?.end();
    expect(eventsOf((await started.finished).stdout).slice(-2)).toEqual([
      { type: "exit", step: 0, code: 137 },
      { type: "end", code: 137 },
    ]);
  });

  test.each([
    ["no JSON hunter2", "the request is not in JSON"],
    [
      '{"plan":{"version":1,"image":"a","steps":[]}}',
      "plan.steps: Too small: expected array to have >=1 items",
    ],
    ['{"plan":{"version":1,"image":"a","steps":[{"secretEnv":{"A":{"x":"hunter2"}}}]}}', "a URI"],
  ])("refuses %j", async (line, reason) => {
    const { child, finished } = start(["run", "--stdio"], { input: true });
    child.stdin?.write(`${line}\n`);
    const { code, stdout } = await finished;
    const [event] = eventsOf(stdout);
    expect(event).toMatchObject({
      type: "error",
      code: "usage",
      exitCode: 125,
      detail: expect.stringContaining(reason),
    });
    expect({ code, leaks: stdout.includes("hunter2") }).toEqual({ code: 125, leaks: false });
  });
});
