/** `claimcheck executor`: a job sends a plan with its own token, and is told what happens. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { filesContaining, processesContaining, until } from "../parts/host.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";
import { ask, type ExecutorHost, open, outputOf, planOf, startHost } from "../support/executor.ts";
import { makeFolder } from "../support/served.ts";

const secretEnv = { A: "env://API_TOKEN" };

async function setUp(host: Parameters<typeof startHost>[0] = {}) {
  const started = await startHost(host);
  return { ...started, token: await started.sign("job-1") };
}

describe("a run", () => {
  test("gets its secrets in the job's name, and tells what happens as it happens", async () => {
    const { socket, token, folder, leftovers, heard } = await setUp();
    const plan = planOf(
      { name: "build", script: "echo this is the secret: $A; echo built > /made", secretEnv },
      { script: "cat /made; echo ${A-unset} >&2; exit 3" },
    );
    const { status, headers, events } = await ask(socket, { plan, token });
    // Who ends TLS on the way to the broker has neither the job's token nor the executor's.
    const own = readFileSync(join(folder, "executor-token"), "utf8").trim();
    expect(heard()).toMatch(/authorization: DPoP /i);
    for (const each of [token, own]) expect(heard()).not.toContain(each);
    expect(status).toBe(200);
    expect(headers).toMatchObject({ "content-type": "application/x-ndjson", "cache-control": "no-store" });
    expect(outputOf(events, "stdout")).toBe("this is the secret: ***\nbuilt\n");
    expect(outputOf(events, "stderr")).toBe("unset\n");
    expect(events.filter(({ type }) => ["step", "exit", "end"].includes(type))).toEqual([
      { type: "step", step: 0, name: "build" },
      { type: "exit", step: 0, code: 0 },
      { type: "step", step: 1 },
      { type: "exit", step: 1, code: 3 },
      { type: "end", code: 3 },
    ]);
    const principals = readFileSync(join(folder, "audit.jsonl"), "utf8")
      .split("\n")
      .flatMap((line) => (line.includes('"decision"') ? [JSON.parse(line)] : []))
      .map(({ action, principal, outcome }) => `${action} ${principal} ${outcome}`);
    expect([...new Set(principals)].filter((each) => !each.startsWith("check "))).toEqual([
      "issue ci:job-1 issued",
      "redeem ci:executor-1 released",
    ]);
    await until(() => leftovers().length === 0);
  });

  test("that was run before is answered from the cache, and nothing is redeemed for it", async () => {
    const { socket, token, folder } = await setUp();
    const plan = planOf({ script: "echo $A; cat /proc/sys/kernel/random/uuid", secretEnv });
    const first = await ask(socket, { plan, token });
    const again = await ask(socket, { plan, token });
    expect(outputOf(again.events, "stdout")).toBe(outputOf(first.events, "stdout"));
    expect(again.events.at(-1)).toEqual({ type: "end", code: 0 });
    const actions = readFileSync(join(folder, "audit.jsonl"), "utf8")
      .split("\n")
      .flatMap((line) => (line.includes('"redeem"') || line.includes('"check"') ? [JSON.parse(line)] : []))
      .map(({ action, outcome }) => `${action} ${outcome}`);
    expect(actions.filter((action) => action === "redeem released")).toHaveLength(1);
    expect(actions.at(-1)).toBe("check confirmed");
  });

  test("is sent as it is printed, not when it ends", async () => {
    const { socket } = await setUp();
    const { request, answered } = open(socket, { plan: planOf({ script: "echo first; exec sleep 1000" }) });
    request.on("error", () => {});
    for await (const chunk of (await answered).setEncoding("utf8")) {
      if (chunk.includes('"stdout"')) break;
    }
    request.destroy();
  });

  test("is given values that the job brings, which no file ever holds", async () => {
    const { socket, token, executor, folder } = await setUp();
    const value = `brought-${"0123456789abcdef".repeat(2)}`;
    const plan = planOf({
      script: 'cat; echo " $A ${#A}"',
      secretStdin: { value: "KEY" },
      secretEnv: { A: { value: "KEY" } },
    });
    const values = { KEY: Buffer.from(value).toString("base64") };
    const { events } = await ask(socket, { plan, token, values });
    expect(outputOf(events, "stdout")).toBe("*** *** 40\n");
    expect(await filesContaining([value], [folder, "/dev/shm"])).toEqual([]);
    expect(executor.output.stderr).not.toContain(value);
  });

  test("that fails says so in one event, the last", async () => {
    const { socket, token } = await setUp();
    const { events } = await ask(socket, {
      plan: planOf({ script: "", secretEnv: { A: "env://NONE" } }),
      token,
    });
    expect(events.at(-1)).toEqual({
      type: "error",
      code: "secret_not_found",
      title: "The secret does not exist.",
      detail: "env://NONE is not set (for A)",
      exitCode: 125,
    });
    const missing = await ask(socket, { plan: { ...planOf({ script: "" }), steps: [{ args: ["/nope"] }] } });
    expect(missing.events.at(-1)).toMatchObject({ type: "error", code: "command_not_found", exitCode: 127 });
    const { events: late } = await ask(socket, { plan: planOf({ script: "sleep 60", timeout: "0.2s" }) });
    expect(late.at(-1)).toMatchObject({ type: "error", code: "timed_out", exitCode: 124 });
  });

  test("finds a supervisor that waited, unless it mounts what the host may have mounted since", async () => {
    const shared = makeFolder({});
    const { socket, remains, executor } = await setUp({ fields: `volumes: [{ source: ${shared} }]` });
    const nameIn = async (fields: object = {}) => {
      const { events } = await ask(socket, { plan: planOf({ script: "hostname", ...fields }), cache: false });
      return outputOf(events, "stdout").trim();
    };
    await nameIn();
    await until(() => remains().length === 4);
    const waiting = remains();
    expect(waiting).toContain(await nameIn());
    await until(() => remains().length === 4);
    expect(remains()).not.toContain(await nameIn({ volumes: [{ source: shared, target: "/v" }] }));

    // What waits and is killed is not found.
    await until(() => remains().length === 4);
    for (const each of remains())
      if (each.startsWith("process ")) process.kill(Number(each.slice(8)), "SIGKILL");
    await until(() => !remains().some((each) => each.startsWith("process ")));
    expect(await nameIn()).toMatch(/^[0-9a-f]{12}$/);
    executor.child.kill("SIGTERM");
    expect((await executor.finished).code).toBe(0);
    expect(remains()).toEqual([]);
  });

  test("that is waited for keeps no file system of the host in use", async () => {
    // As systemd has it for all of a host.
    const outer = makeFolder({});
    const shared = join(outer, "shared");
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", outer]);
    try {
      execFileSync("mount", ["--make-shared", outer]);
      mkdirSync(shared);
      execFileSync("mount", ["-t", "tmpfs", "tmpfs", shared]);
      const { socket, state } = await setUp();
      await ask(socket, { plan: planOf({ script: "" }), cache: false });
      const waiting = () => readdirSync(join(state, "runs")).length;
      const holding = () => {
        const all = processesContaining("cmdline", "supervisor.pl");
        return processesContaining("mountinfo", shared).filter((pid) => all.includes(pid));
      };
      // Each is two processes: unshare(1), which sees what the host does, and its child, which does not.
      await until(() => waiting() === 2 && holding().length === 2);
      execFileSync("umount", [shared]);
      expect(holding()).toEqual([]);
    } finally {
      spawnSync("umount", ["--recursive", outer]);
    }
  });

  test("that does not come to its command leaves nothing open in the executor", async () => {
    const { socket, token, executor } = await setUp();
    const fails = async () => {
      const missing = { plan: { ...planOf({ script: "" }), steps: [{ args: ["/nope"] }] } };
      expect((await ask(socket, missing)).events.at(-1)).toMatchObject({ code: "command_not_found" });
      const short = { plan: planOf({ script: "", secretEnv: { A: { value: "KEY" } } }), token };
      const values = { KEY: Buffer.from("abc").toString("base64") };
      expect((await ask(socket, { ...short, values })).events.at(-1)).toMatchObject({
        code: "secret_too_short",
      });
    };
    const pipes = () => {
      const folder = `/proc/${executor.child.pid}/fd`;
      return readdirSync(folder).filter((fd) => readlinkSync(`${folder}/${fd}`).startsWith("pipe:")).length;
    };
    await fails();
    const before = pipes();
    for (let round = 0; round < 5; round++) await fails();
    await until(() => pipes() <= before);
  });

  test("with URIs and without the job's token is nobody's", async () => {
    const { socket } = await setUp();
    const { events } = await ask(socket, { plan: planOf({ script: "", secretEnv }) });
    expect(events.at(-1)).toMatchObject({ type: "error", code: "token_unavailable" });
  });
});

describe("claimcheck run --executor", () => {
  let host: ExecutorHost & { token: string };
  const run = (args: readonly string[], env: Record<string, string> = {}) =>
    claimcheck(["run", "--executor", host.socket, ...args], {
      env: { CLAIMCHECK_TOKEN: host.token, ...env },
    });

  test("prints what a local run prints, and ends as it does", async () => {
    host = await setUp();
    const script = 'echo "this is the secret: $A"; echo "and $B" >&2; exit 7';
    const args = ["--secret-env", "A=env://API_TOKEN", "-e", "B=c", "-u", "5:5", "--memory", "64m", image];
    expect(await run([...args, "--", "sh", "-c", script])).toEqual({
      code: 7,
      stdout: "this is the secret: ***\n",
      stderr: "and c\n",
    });
    expect(await run([image, "--", "/nope"])).toMatchObject({
      code: 127,
      stderr: expect.stringMatching(
        /^claimcheck: The image does not contain the command.*\[command_not_found\]\n$/,
      ),
    });
    expect(await run(["--timeout", "0.2s", image, "--", "sleep", "60"])).toMatchObject({ code: 124 });
    expect(await run(["-v", "/:/host", image])).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/volume \/ \[not_permitted\]\n$/),
    });
    for (const flag of ["-i", "--no-masking"]) {
      expect(await run([flag, image])).toMatchObject({
        code: 125,
        stderr: expect.stringMatching(/\[usage\]\n$/),
      });
    }
  });

  test("runs a command whenever it is asked to, unless --cache says otherwise", async () => {
    const { socket } = await setUp();
    const run = (...more: string[]) =>
      claimcheck(["run", "--executor", socket, ...more, image, "cat", "/proc/sys/kernel/random/uuid"]);
    const printed = [await run(), await run(), await run("--cache"), await run("--cache")];
    const [first, second, third, fourth] = printed.map(({ stdout }) => stdout);
    expect(second).not.toBe(first);
    expect(fourth).toBe(third);
  });

  test("runs plans, with values and with handles for this plan and this executor alone", async () => {
    host = await setUp();
    const plan = planOf(
      { name: "first", script: 'echo "$H and $V"', secretEnv: { H: { handle: "TOKEN" }, V: { value: "V" } } },
      { script: "echo second" },
    );
    const folder = makeFolder({ "plan.json": JSON.stringify(plan), value: "brought along" });
    const file = (name: string) => join(folder, name);
    const asked = ["--jkt", host.jkt, "--audience", "ci:executor-1", "--plan", file("plan.json")];
    const env = {
      CLAIMCHECK_BROKER: host.url,
      CLAIMCHECK_BROKER_KEYS: host.keys,
      CLAIMCHECK_TOKEN: host.token,
    };
    const { stdout: handle } = await claimcheck(["issue", ...asked, "TOKEN=env://API_TOKEN"], { env });
    const given = ["--value", `V=@${file("value")}`, "--plan", file("plan.json")];
    expect(await run(given, { CLAIMCHECK_HANDLE_TOKEN: handle })).toEqual({
      code: 0,
      stdout: "*** and ***\nsecond\n",
      stderr: "claimcheck: step 1 of 2 (first)\nclaimcheck: step 2 of 2\n",
    });
  });

  test("ends the run on Ctrl-C", async () => {
    host = await setUp();
    const running = start([
      "run",
      "--executor",
      host.socket,
      image,
      "--",
      "sh",
      "-c",
      "trap '' INT TERM; echo up; sleep 1000",
    ]);
    await printed(running, "up");
    running.child.kill("SIGINT");
    expect(await running.finished).toMatchObject({ code: 130, stderr: "" });
    await until(() => host.leftovers().length === 0);
  });

  test("says in one line that nobody is there", async () => {
    const { code, stderr } = await claimcheck(["run", "--executor", "/nowhere.sock", image]);
    expect(code).toBe(125);
    expect(stderr).toBe(
      "claimcheck: Claimcheck could not reach the executor: ENOENT [executor_unreachable]\n",
    );
  });
});

describe("where it listens", () => {
  test("a socket is its group's, and whoever is not allowed to write to it is not heard", async () => {
    const { socket } = await setUp();
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect((await ask(socket, undefined, {}, "/healthz")).text).toBe('{"status":"ok"}');
  });

  test.each([
    ["socket", "{ socket: FILE }"],
    ["token file", '{ tcp: "127.0.0.1:1", tokenFile: FILE }'],
  ])("a file that is no %s of an executor is left as it is", async (_, listen) => {
    const folder = makeFolder({ precious: "not ours", token: "x" });
    const file = join(folder, "precious");
    writeFileSync(
      join(folder, "executor.yaml"),
      `listen: ${listen.replace("FILE", file)}
broker: { url: "https://broker.example", keys: [${"A".repeat(43)}], principal: "ci:executor", tokenFile: token }
state: ${join(folder, "state")}
`,
    );
    const { code, stderr } = await claimcheck(["executor", "--config", join(folder, "executor.yaml")]);
    expect({ code, stderr }).toEqual({
      code: 125,
      stderr: expect.stringMatching(/precious exists and .*\[state_unusable\]/),
    });
    expect(readFileSync(file, "utf8")).toBe("not ours");
  });

  test("a port of loopback wants a token that is made at each start", async () => {
    const port = 20_000 + (process.pid % 10_000);
    const host = await startHost({ listen: `{ tcp: "127.0.0.1:${port}", tokenFile: one-time }` });
    const file = join(host.folder, "one-time");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const run = (token: string) =>
      claimcheck(["run", "--executor", `127.0.0.1:${port}`, image, "--", "echo", "ran"], {
        env: { CLAIMCHECK_EXECUTOR_TOKEN: token },
      });
    const token = readFileSync(file, "utf8").trim();
    expect(await run(token)).toMatchObject({ code: 0, stdout: "ran\n" });
    expect(await run("guessed")).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("[unauthenticated]"),
    });
  });
});

describe("its configuration", () => {
  test.each([
    ["images: alpine", /^4: images: .*array/],
    [
      "volumes: [{ source: / }]",
      /^5: volumes\.0: \/ and .* overlap: one contains the other; choose separate paths/,
    ],
    ["volumes: [{ source: /nowhere }]", /^5: volumes\.0: it cannot be read \(ENOENT\)/],
    ['volumes: [{ source: /srv, user: "0:0" }]', /^5: volumes\[0\]\.user: UID:GID/],
    ["ceilings: { timeout: soon }", /^5: ceilings\.timeout: "soon" is not a time/],
    ["masking: false", /^5: masking: this field does not exist/],
  ])("%s is refused with its line", async (line, expected) => {
    const images = line.startsWith("images") ? line : 'images: ["**"]';
    const folder = makeFolder({
      "executor.yaml": `listen: { socket: /run/executor.sock }
broker: { url: "https://broker.example", keys: [${"A".repeat(43)}], principal: "ci:executor" }
state: /var/lib/claimcheck
${images}
${images === line ? "" : line}
`,
    });
    const file = join(folder, "executor.yaml");
    const { code, stderr } = await claimcheck(["executor", "--config", file, "--check-config"]);
    expect(code).toBe(125);
    expect(stderr.replaceAll(`${file}:`, "")).toMatch(expected);
  });

  test("its JSON Schema is printed for editors", async () => {
    const { stdout } = await claimcheck(["executor", "schema"]);
    expect(JSON.parse(stdout)).toMatchObject({ required: ["listen", "broker"] });
  });
});
