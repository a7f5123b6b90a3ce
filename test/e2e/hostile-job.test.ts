/** Jobs that want more of an executor than its configuration gives them, and what becomes of their runs. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { until } from "../parts/host.ts";
import { claimcheck } from "../support/command.ts";
import { ask, type ExecutorHost, open, outputOf, planOf, startHost } from "../support/executor.ts";
import { makeFolder } from "../support/served.ts";

const secretEnv = { A: "env://API_TOKEN" };

/** A step of a plan that is refused before anything happens. */
async function refusal(host: ExecutorHost, step: object, plan: object = {}) {
  const { status, text } = await ask(host.socket, {
    plan: { ...planOf({ script: "true", ...step }), ...plan },
  });
  const { code, detail } = JSON.parse(text);
  return { status, code, detail };
}

const notPermitted = (detail: string) => ({ status: 403, code: "not_permitted", detail });

describe("what the configuration does not name is not to be had", () => {
  test.each([
    [{ volumes: [{ source: "/", target: "/host" }] }, "steps[0]: the volume /"],
    [
      { volumes: [{ source: "/etc/shadow", target: "/s", readOnly: true }] },
      "steps[0]: the volume /etc/shadow",
    ],
    [{ volumes: [{ source: "relative", target: "/s" }] }, "steps[0]: the volume relative"],
    [{ network: "host" }, "steps[0]: network host"],
    [{ memory: "2g" }, "steps[0]: memory 2147483648; at most 1073741824"],
    [{ cpus: 64 }, "steps[0]: cpus 64; at most 1"],
    [{ pidsLimit: 100000 }, "steps[0]: pidsLimit 100000; at most 512"],
    [{ timeout: "24h" }, "steps[0]: timeout 86400; at most 3600"],
  ])("%j", async (step, detail) => {
    expect(await refusal(await startHost(), step)).toEqual(notPermitted(detail));
  });

  test.each(["alpine:latest", "dir:/etc", "docker-archive:/tmp/i.tar", "localhost/claimcheck-busybox"])(
    "the image %s",
    async (name) => {
      expect(await refusal(await startHost(), {}, { image: name })).toEqual(
        notPermitted(`the image ${name}`),
      );
    },
  );

  test.each([{ tag: "localhost/app:1" }, { publish: "registry.example/app:1" }])("%j", async (plan) => {
    expect(await refusal(await startHost(), {}, plan)).toEqual(notPermitted("to make an image"));
  });

  test("a name that buildah takes for a path is none, whatever the patterns say", async () => {
    const host = await startHost({ fields: "networks: [none]" });
    execFileSync("sed", ["-i", 's/^images: .*/images: ["**"]/', host.config]);
    host.executor.child.kill("SIGTERM");
    await host.executor.finished;
    await host.startExecutor();
    expect(await refusal(host, {}, { image: "dir:/etc" })).toEqual(notPermitted("the image dir:/etc"));
  });

  test("what no plan has is refused: a runtime, more rights, output that is not masked", async () => {
    const host = await startHost();
    const plan = planOf({ script: "true" });
    for (const body of [
      { plan, runtime: "/tmp/evil" },
      { plan, masked: false },
      { plan: { ...plan, runtime: "/tmp/evil" } },
      { plan: planOf({ script: "true", privileged: true }) },
    ]) {
      const { status, text } = await ask(host.socket, body);
      expect({ status, code: JSON.parse(text).code }).toEqual({ status: 400, code: "invalid_request" });
    }
  });

  test("a step that says nothing of limits has those of the configuration", async () => {
    const host = await startHost({ fields: "ceilings: { memory: 48m, pids: 20, timeout: 1s }" });
    const show =
      "for c in memory pids; do cat /sys/fs/cgroup/$c/memory.limit_in_bytes /sys/fs/cgroup/$c/pids.max; done";
    const { events } = await ask(host.socket, {
      plan: planOf({ script: `(${show}) 2>/dev/null; sleep 60` }),
    });
    expect(outputOf(events, "stdout").split("\n")).toEqual(expect.arrayContaining(["50331648", "20"]));
    expect(events.at(-1)).toMatchObject({ type: "error", code: "timed_out" });
  });
});

describe("folders that may be mounted", () => {
  /** Two of them, beside one that may not. */
  async function withFolders() {
    const shared = makeFolder({});
    const [readable, writable, secret] = ["readable", "writable", "secret"].map((name) => join(shared, name));
    for (const folder of [readable, writable, secret]) mkdirSync(folder as string);
    for (const folder of [readable, secret]) writeFileSync(join(folder as string, "file"), "content");
    execFileSync("chown", ["1234:1234", writable as string]);
    const volumes = `[{ source: ${readable} }, { source: ${writable}, user: "1234:1234" }]`;
    return {
      host: await startHost({ fields: `volumes: ${volumes}` }),
      readable: readable as string,
      writable: writable as string,
      secret: secret as string,
    };
  }

  /** What a script prints that has the source at /v. */
  async function mount(host: ExecutorHost, source: string, script: string, fields: object = {}) {
    const volumes = [{ source, target: "/v", readOnly: true, ...fields }];
    return ask(host.socket, { plan: planOf({ script, volumes }) });
  }

  test("are readable, to what is below them, and writable only where it says as whom", async () => {
    const { host, readable, writable } = await withFolders();
    expect(outputOf((await mount(host, readable, "cat /v/file; echo x > /v/file")).events, "stdout")).toBe(
      "content",
    );
    expect(outputOf((await mount(host, join(readable, "file"), "cat /v")).events, "stdout")).toBe("content");
    expect((await mount(host, readable, "", { readOnly: false })).text).toContain("not_permitted");
    expect(readFileSync(join(readable, "file"), "utf8")).toBe("content");

    const write = "id -u; echo made > /v/made; chmod 6755 /v/made; chown 0:0 /v/made; mknod /v/null c 1 3";
    const { events } = await mount(host, writable, write, { readOnly: false });
    expect(outputOf(events, "stdout")).toBe("1234\n");
    const { uid, gid } = statSync(join(writable, "made"));
    expect({ uid, gid }).toEqual({ uid: 1234, gid: 1234 });
    expect(existsSync(join(writable, "null"))).toBe(false);
    const asRoot = planOf({
      script: "true",
      user: "0:0",
      volumes: [{ source: writable, target: "/v" }],
    });
    expect((await ask(host.socket, { plan: asRoot })).text).toContain("not_permitted");
  });

  test("are not left by .., nor by a neighbour's name", async () => {
    const { host, readable } = await withFolders();
    for (const source of [
      `${readable}/../secret`,
      `${readable}/./file`,
      `${readable}2`,
      `${readable}//file`,
    ]) {
      expect((await mount(host, source, "true")).status).toBe(403);
    }
  });

  test("are not left by links that a job made: on the way, at its end, or as a file", async () => {
    const { host, writable, secret } = await withFolders();
    symlinkSync(secret, join(writable, "folder"));
    symlinkSync(join(secret, "file"), join(writable, "file"));
    symlinkSync("/", join(writable, "root"));
    for (const path of ["folder", "folder/file", "file", "root", "root/etc"]) {
      const { events } = await mount(host, join(writable, path), "cat /v /v/file");
      expect(events.at(-1)).toMatchObject({ type: "error", code: "invalid_plan" });
      expect(outputOf(events, "stdout")).toBe("");
    }
    await until(() => host.leftovers().length === 0);
  });

  test("are what they were when they were opened, however fast a job exchanges them", async () => {
    const { host, writable, secret } = await withFolders();
    mkdirSync(join(writable, "good"));
    writeFileSync(join(writable, "good", "file"), "harmless");
    symlinkSync(secret, join(writable, "evil"));
    const swap = `cd ${writable}; while :; do ln -sfn evil way; rm way; mkdir way; echo harmless > way/file; rm -r way; done`;
    const swapping = (await import("node:child_process")).spawn("sh", ["-c", swap], { stdio: "ignore" });
    onTestFinished(() => void swapping.kill("SIGKILL"));
    for (let round = 0; round < 12; round++) {
      const { events } = await mount(host, join(writable, "way"), "cat /v/file");
      expect(outputOf(events, "stdout")).not.toContain("content");
    }
    swapping.kill("SIGKILL");
    await once(swapping, "close");
  });

  test.each(["state", "socket", "around"])("cannot be the executor's own %s", async (which) => {
    const folder = makeFolder({});
    const state = join(folder, "state");
    mkdirSync(state);
    const source = { state, socket: join(folder, "run"), around: folder }[which] as string;
    mkdirSync(source, { recursive: true });
    writeFileSync(
      join(folder, "executor.yaml"),
      `listen: { socket: ${folder}/run/executor.sock }
broker: { url: "https://broker.example", keys: [${"A".repeat(43)}], principal: p }
state: ${state}
volumes: [{ source: ${source} }]
`,
    );
    const checked = await claimcheck([
      "executor",
      "--check-config",
      "--config",
      join(folder, "executor.yaml"),
    ]);
    expect(checked).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("overlap: one contains the other; choose separate paths"),
    });
  });
});

describe("handles", () => {
  /** A handle that a job was issued. */
  async function issue(host: ExecutorHost, job: string, flags: readonly string[]) {
    const env = {
      CLAIMCHECK_BROKER: host.url,
      CLAIMCHECK_BROKER_KEYS: host.keys,
      CLAIMCHECK_TOKEN: await host.sign(job),
    };
    const { stdout, stderr } = await claimcheck(["issue", ...flags, "env://API_TOKEN"], { env });
    expect(stderr).toBe("");
    return stdout.trim();
  }

  /** The end of a run with this handle. */
  async function use(host: ExecutorHost, handle: string) {
    const plan = planOf({ script: "echo $A | rev", secretEnv: { A: { handle } } });
    const { events } = await ask(host.socket, { plan, token: await host.sign("job-2") });
    return { end: events.at(-1), stdout: outputOf(events, "stdout") };
  }

  test("of another executor are refused by the broker, whoever sends them", async () => {
    const host = await startHost();
    const handle = await issue(host, "job-1", ["--audience", "ci:executor-2", "--jkt", host.jkt]);
    expect(await use(host, handle)).toMatchObject({
      end: { type: "error", code: "invalid_handle" },
      stdout: "",
    });
  });

  test("for another key are", async () => {
    const host = await startHost();
    const handle = await issue(host, "job-1", ["--audience", "ci:executor-1", "--jkt", "A".repeat(43)]);
    expect(await use(host, handle)).toMatchObject({
      end: { type: "error", code: "invalid_handle" },
      stdout: "",
    });
  });

  test("that another job has bound to its plan are worth nothing in a plan that prints them", async () => {
    const host = await startHost();
    const plan = planOf({ script: "deploy", secretEnv: { A: { handle: "A" } } });
    const file = join(makeFolder({ "plan.json": JSON.stringify(plan) }), "plan.json");
    const bound = ["--audience", "ci:executor-1", "--jkt", host.jkt, "--plan", file];
    const handle = await issue(host, "job-1", bound);
    expect(await use(host, handle)).toMatchObject({
      end: { type: "error", code: "plan_mismatch" },
      stdout: "",
    });
    const records = readFileSync(join(host.folder, "audit.jsonl"), "utf8");
    expect(records).not.toContain('"released"');
  });
});

describe("a flood", () => {
  test("of one body is refused before it has arrived", async () => {
    const host = await startHost({ fields: "limits: { body: 6m }" });
    const announced = await ask(host.socket, "x".repeat(7 * 1024 * 1024));
    expect(JSON.parse(announced.text)).toMatchObject({ status: 413, code: "body_too_large" });
    const socket = connect(host.socket);
    socket.on("error", () => {});
    socket.write("POST /v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    socket.write("transfer-encoding: chunked\r\n\r\n");
    const chunk = `100000\r\n${"x".repeat(0x100000)}\r\n`;
    for (let sent = 0; sent < 8; sent++) socket.write(chunk);
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1.1 413 /);
    socket.destroy();
  });

  test("of connections that say nothing keeps nobody else out for long, and costs bounded memory", async () => {
    const host = await startHost({
      fields: "limits: { connections: 60, headersTimeout: 1, requestTimeout: 1 }",
    });
    const idle = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const socket = connect(host.socket);
        socket.on("error", () => {});
        socket.on("data", () => {});
        await Promise.race([once(socket, "connect"), once(socket, "close")]);
        return socket;
      }),
    );
    // Those that were let in are told, one after the other, that they took too long.
    await Promise.all(idle.map((socket) => socket.closed || once(socket, "close")));
    const { events } = await ask(host.socket, { plan: planOf({ script: "echo still here" }) });
    expect(outputOf(events, "stdout")).toBe("still here\n");
  });

  test.each([
    ["say nothing", "", { headersTimeout: 1, requestTimeout: 1 }],
    ["speak no HTTP", "?\r\n\r\n", {}],
    ["send too large headers", `GET / HTTP/1.1\r\nx: ${"x".repeat(20_000)}\r\n\r\n`, {}],
  ])("of connections that %s and are never closed is closed for good", async (_, said, limits) => {
    const host = await startHost({ fields: `limits: ${JSON.stringify({ connections: 8, ...limits })}` });
    const sockets = await Promise.all(
      Array.from({ length: 8 }, async () => {
        // Nothing of the answer is read, and its end is not answered with an end.
        const socket = connect({ path: host.socket, allowHalfOpen: true });
        socket.on("error", () => {});
        await once(socket, "connect");
        socket.write(said);
        return socket;
      }),
    );
    for (let open = sockets.length; open > 0; ) {
      const answer = await ask(host.socket, undefined, {}, "/healthz").catch(() => undefined);
      if (answer?.status === 200) open = 0;
    }
    expect(sockets.every(({ destroyed }) => !destroyed)).toBe(true);
  });

  test("of bodies takes bounded memory: more than eight of the largest are not held at once", async () => {
    const host = await startHost({ fields: "limits: { body: 64k, waiting: 40 }" });
    const body = JSON.stringify({ plan: planOf({ script: `: ${"x".repeat(60_000)}; exec sleep 1000` }) });
    const sent = Array.from({ length: 12 }, () => open(host.socket, body));
    for (const { request } of sent) request.on("error", () => {});
    const answers = await Promise.all(sent.map(({ answered }) => answered));
    const codes = answers.map(({ statusCode }) => statusCode).sort();
    expect(codes).toEqual([...Array(8).fill(200), ...Array(4).fill(503)]);
    for (const { request } of sent) request.destroy();
    let again = await ask(host.socket, { plan: planOf({ script: `: ${"x".repeat(60_000)}` }) });
    while (again.status === 503) again = await ask(host.socket, { plan: planOf({ script: "true" }) });
    expect(again.events.at(-1)).toEqual({ type: "end", code: 0 });
  });

  test("of a request that trickles in is cut off", async () => {
    const host = await startHost({ fields: "limits: { headersTimeout: 1, requestTimeout: 1 }" });
    const socket = connect(host.socket);
    socket.write(
      "POST /v1/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
    );
    const [answer] = await once(socket, "data");
    expect(String(answer)).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s);
  });

  test("of runs waits in line, and beyond that is told to come again", async () => {
    const host = await startHost({ fields: "limits: { runs: 1, waiting: 1 }" });
    const plan = planOf({ script: "echo up; exec sleep 1000" });
    const first = open(host.socket, { plan });
    first.request.on("error", () => {});
    await saying(await first.answered, '"stdout"');
    const second = ask(host.socket, { plan: planOf({ script: "echo second" }) });
    await until(() => host.executor.output.stderr !== undefined);
    let busy = await ask(host.socket, { plan });
    while (busy.status === 200) busy = await ask(host.socket, { plan });
    expect(busy).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
    expect(JSON.parse(busy.text).code).toBe("executor_busy");
    first.request.destroy();
    const { events } = await second;
    expect(events[0]).toEqual({ type: "progress", text: "waiting for other runs to end" });
    expect(outputOf(events, "stdout")).toBe("second\n");
  });
});

/** Reads an answer until this is in it. */
async function saying(answer: AsyncIterable<Buffer>, text: string): Promise<void> {
  let seen = "";
  const chunks = answer[Symbol.asyncIterator]();
  while (!seen.includes(text)) {
    const { value, done } = await chunks.next();
    if (done) throw new Error(`it ended with ${seen}`);
    seen += value;
  }
}

describe("a job that goes away", () => {
  const forever = planOf({ script: "trap '' TERM INT; echo up $A; sleep 1000", secretEnv });

  test("takes its container along, and nothing is left", async () => {
    const host = await startHost();
    const running = open(host.socket, { plan: forever, token: await host.sign("job-1") });
    running.request.on("error", () => {});
    await saying(await running.answered, '"stdout"');
    expect(host.leftovers()).not.toEqual([]);
    running.request.destroy();
    await until(() => host.leftovers().length === 0);
  });

  test("before its run has begun leaves nothing either, at whatever moment", async () => {
    const host = await startHost();
    const token = await host.sign("job-1");
    for (let moment = 0; moment < 12; moment++) {
      const running = open(host.socket, { plan: forever, token, cache: false });
      running.request.on("error", () => {});
      running.answered.catch(() => {});
      // Counted in processes started, so that no clock decides.
      for (let step = 0; step < moment * 3; step++) execFileSync("true");
      running.request.destroy();
    }
    await until(() => host.leftovers().length === 0);
    const { events } = await ask(host.socket, { plan: planOf({ script: "echo fine" }) });
    expect(outputOf(events, "stdout")).toBe("fine\n");
  });

  test("without a word, by not reading, is noticed; the container waits, and others do not", async () => {
    const host = await startHost({ fields: "limits: { stall: 2s }" });
    const { answered } = open(host.socket, { plan: planOf({ script: "cat /dev/zero" }) });
    const answer = await answered;
    answer.on("error", () => {});
    answer.pause();
    const { events } = await ask(host.socket, { plan: planOf({ script: "echo another" }) });
    expect(outputOf(events, "stdout")).toBe("another\n");
    await until(() => host.leftovers().length === 0);
    // A container that nobody waits for would have sent hundreds of megabytes into this process's memory.
    const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${host.executor.child.pid}/status`, "utf8"))?.[1];
    expect(Number(peak)).toBeLessThan(400 * 1024);
    answer.destroy();
  });
});

describe("an executor that ends", () => {
  const forever = planOf({ script: "trap '' TERM; echo up; sleep 1000 & wait" });

  async function running(host: ExecutorHost) {
    const run = open(host.socket, { plan: forever, cache: false });
    run.request.on("error", () => {});
    const answer = await run.answered;
    answer.on("error", () => {});
    await saying(answer, '"stdout"');
    return answer;
  }

  test("by kill -9 takes its containers along; the next one sweeps, and takes the socket over", async () => {
    const host = await startHost();
    await Promise.all([running(host), running(host)]);
    host.executor.child.kill("SIGKILL");
    await host.executor.finished;
    await until(() => host.remains().length === 0);
    mkdirSync(join(host.state, "runs", "0123456789ab"));
    await host.startExecutor();
    const { events } = await ask(host.socket, { plan: planOf({ script: "echo again" }) });
    expect(outputOf(events, "stdout")).toBe("again\n");
    await until(() => host.leftovers().length === 0);
  });

  test("by SIGTERM lets runs end, takes no new ones, and leaves no socket", async () => {
    const host = await startHost();
    const run = open(host.socket, { plan: planOf({ script: "echo up; cat; echo down", volumes: [] }) });
    const answer = await run.answered;
    host.executor.child.kill("SIGTERM");
    let text = "";
    for await (const chunk of answer.setEncoding("utf8")) text += chunk;
    expect(text).toContain('{"type":"end","code":0}');
    expect((await host.executor.finished).code).toBe(0);
    expect(existsSync(host.socket)).toBe(false);
  });

  test("ends those that take too long, or at once at the second SIGTERM, and says so to the jobs", async () => {
    for (const [fields, signals] of [
      ["limits: { drain: 1s }", 1],
      ["", 2],
    ] as const) {
      const host = await startHost({ fields });
      const answer = await running(host);
      const rest = saying(answer as AsyncIterable<Buffer>, '"code":"executor_stopping"');
      for (let sent = 0; sent < signals; sent++) {
        host.executor.child.kill("SIGTERM");
        if (sent === 0 && signals > 1) {
          await until(() => !existsSync(host.socket));
        }
      }
      await rest;
      expect((await host.executor.finished).code).toBe(0);
      expect(host.remains()).toEqual([]);
    }
  });

  test("does not take the place of one that is there", async () => {
    const host = await startHost();
    const second = await claimcheck(["executor", "--config", host.config]);
    expect(second).toMatchObject({ code: 125, stderr: expect.stringContaining("EADDRINUSE") });
    expect((await ask(host.socket, undefined, {}, "/healthz")).status).toBe(200);
  });
});
