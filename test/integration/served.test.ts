/** The served broker under clients that behave badly: what they get is bounded and has a code. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Problem, type Readiness } from "../../shared/wire.ts";
import { startIssuer } from "../parts/issuer.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { claimcheck, printed } from "../support/command.ts";
import { anyVariable, makeFolder, policyOf, putPolicy, serve } from "../support/served.ts";
import { sourcesOf } from "../support/sources.ts";

const issuer = { url: "http://127.0.0.1:1" };
const quick = "limits: { headersTimeout: 1, requestTimeout: 1 }\n";

function open(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** What the broker says on a connection before it ends it. */
async function answerTo(port: number, text: string): Promise<{ status: number; problem: Problem }> {
  const socket = open(port);
  let answer = "";
  socket.setEncoding("utf8").on("data", (part: string) => {
    answer += part;
  });
  socket.write(text);
  await once(socket, "close");
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  expect(head).toMatch(/content-type: application\/problem\+json/);
  return { status: Number(head.split(" ")[1]), problem: Problem.parse(JSON.parse(body)) };
}

describe("a client that", () => {
  test.each([
    ["sends its headers slowly", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow:", 408, "request_timeout"],
    ["sends nothing", "", 408, "request_timeout"],
    [
      "sends too many headers",
      `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(17_000)}\r\n\r\n`,
      431,
      "headers_too_large",
    ],
    ["does not speak HTTP", "\x16\x03\x01 hello\r\n\r\n", 400, "invalid_request"],
    [
      "smuggles a second length",
      "POST /v1/handles HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
      "invalid_request",
    ],
  ])("%s gets its answer and is let go", async (_, text, status, code) => {
    const { port, url } = await serve(issuer, quick);
    expect(await answerTo(port, text)).toMatchObject({ status, problem: { status, code } });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test("sends its body slowly gets its answer and is let go", async () => {
    const ci = await startIssuer("ES256");
    const { port, url } = await serve(ci, quick);
    const head = [
      "POST /v1/handles HTTP/1.1",
      "Host: x",
      `Authorization: Bearer ${await ci.sign({ sub: "job", aud: url })}`,
      "Content-Type: application/json",
      "Content-Length: 100",
    ];
    const answer = await answerTo(port, `${head.join("\r\n")}\r\n\r\n{`);
    expect(answer).toMatchObject({ status: 408, problem: { code: "request_timeout" } });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test("declares a body that is too large is refused before it sends it", async () => {
    const { url } = await serve(issuer);
    const huge = await fetch(`${url}/v1/handles`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "x".repeat(2 ** 20 + 1),
    });
    expect(Problem.parse(await huge.json())).toMatchObject({ status: 413, code: "body_too_large" });
  });

  test.each([
    ["GET", "/nowhere", 404, "not_found"],
    ["GET", `/${"x".repeat(8000)}`, 404, "not_found"],
    ["DELETE", "/v1/handles", 405, "method_not_allowed"],
    ["TRACE", "/v1/handles", 405, "method_not_allowed"],
    ["PROPFIND", "/healthz", 405, "method_not_allowed"],
  ])("asks %s %.20s is answered", async (method, path, status, code) => {
    const { port } = await serve(issuer);
    const asked = `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    expect(await answerTo(port, asked)).toMatchObject({ status, problem: { code } });
  });
});

test("a connection is good for a hundred requests, also for one that does not wait for its answers", async () => {
  const { port, output } = await serve(issuer);
  const socket = open(port);
  let answers = "";
  socket.setEncoding("utf8").on("data", (part: string) => {
    answers += part;
  });
  socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000));
  await once(socket, "close");
  expect(answers.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(100);
  expect(output.stderr.match(/"route":"\/healthz"/g)).toHaveLength(100);
});

test("a thousand connections that do nothing keep nobody else waiting, and are let go", async () => {
  const { port, url } = await serve(issuer, quick);
  const idle = Array.from({ length: 1000 }, () => open(port));
  await Promise.all(idle.map((socket) => once(socket, "connect")));
  const closed = Promise.all(idle.map((socket) => once(socket.resume(), "close")));
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  await closed;
});

test("connections beyond the limit are closed at once, and those within it are served", async () => {
  const { port, url } = await serve(issuer, "limits: { connections: 3 }\n");
  const held = Array.from({ length: 3 }, () => open(port));
  await Promise.all(held.map((socket) => once(socket, "connect")));
  const refused = open(port);
  await once(refused.resume(), "close");
  const [first] = held;
  first?.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(String((await once(first as Socket, "data"))[0])).toContain("200 OK");
  for (const socket of held) socket.destroy();
  expect((await fetch(`${url}/healthz`).catch(() => fetch(`${url}/healthz`))).status).toBe(200);
});

describe("a broker that runs", () => {
  const readiness = async (url: string) => (await (await fetch(`${url}/readyz`)).json()) as Readiness;

  /** A token's worth of one variable: which status asking for it has. */
  async function setUp(fields?: string, env?: Record<string, string>) {
    const ci = await startIssuer("ES256");
    const broker = await serve(ci, fields, env);
    const ask = async () => {
      const token = await ci.sign({ sub: "job", aud: broker.url });
      const answer = await fetch(`${broker.url}/v1/handles`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ secrets: [{ uri: "env://API_TOKEN" }] }),
      });
      return answer.status;
    };
    return { ...broker, ci, ask };
  }

  const nothing = anyVariable.replace("env://**", "env://OTHER");

  test("keeps its handles in the Redis of its configuration, and without it issues none", async () => {
    const redis = await startRedisForTest();
    const { ask, output } = await setUp("redis: { env: REDIS_URL }\n", { REDIS_URL: redis.url });
    expect(output.stderr).not.toContain("in memory");
    expect(await ask()).toBe(200);
    expect(await redis.command("DBSIZE")).toBeGreaterThan(0);
    await redis.kill();
    expect(await ask()).toBe(503);
  });

  test("has the quotas of its configuration, and those that it does not name", async () => {
    const { ci, url } = await setUp("quotas: { issue: { principal: 1 } }\n");
    const authorization = `Bearer ${await ci.sign({ sub: "job", aud: url })}`;
    const issue = () =>
      fetch(`${url}/v1/handles`, {
        method: "POST",
        headers: { authorization, "content-type": "application/json" },
        body: JSON.stringify({ secrets: [{ uri: "env://API_TOKEN" }] }),
      });
    const [first, second] = [await issue(), await issue()];
    expect(first.status).toBe(200);
    expect(first.headers.get("ratelimit-policy")).toBe(
      '"issue-principal";q=1;w=60, "issue-tenant";q=30000;w=60',
    );
    expect(second.status).toBe(429);
  });

  test("reads of its host what is listed and nothing else, and gives it again for as long as it is told", async () => {
    const ci = await startIssuer("ES256");
    const files = makeFolder({ key: "the first value", other: "not listed" });
    const listed = sourcesOf(["acme"], {
      variables: { provider: "env", variables: ["API_TOKEN"] },
      files: { provider: "file", roots: [files] },
      commands: { provider: "cmd", commands: ["printf listed"] },
    });
    const allowed = '["env://**", "file://**", "cmd://printf listed", "cmd://printf other"]';
    const { url, policy, ...broker } = await serve(ci, `${listed}cacheTtl: 3600\n`);
    putPolicy(policy, policyOf(ci.url, anyVariable.replace('["env://**"]', allowed)));
    await printed(broker, '"outcome":"taken"');
    const token = await ci.sign({ sub: "job", aud: url });
    /** The log's. */
    const digestOf = async (uri: string): Promise<string> => {
      const answer = await fetch(`${url}/v1/handles`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ secrets: [{ uri }] }),
      });
      const { handles, failures } = (await answer.json()) as {
        handles?: { jti: string }[];
        failures?: { code: string }[];
      };
      if (!handles) return failures?.[0]?.code ?? String(answer.status);
      const lines = readFileSync(join(broker.folder, "audit.jsonl"), "utf8").trimEnd().split("\n");
      const issued = lines.map((line) => JSON.parse(line)).find(({ jti }) => jti === handles[0]?.jti);
      return issued.digest;
    };

    const first = await digestOf(`file://${files}/key`);
    expect(first).toMatch(/^hmac-sha256:/);
    writeFileSync(join(files, "key"), "the second value");
    expect(await digestOf(`file://${files}/key`)).toBe(first);
    expect(await digestOf(`file://${files}/key?ttl=0`)).not.toBe(first);
    expect(await digestOf("cmd://printf listed")).toMatch(/^hmac-sha256:/);
    for (const uri of ["cmd://printf other", "file:///etc/passwd", "env://PATH"]) {
      expect(await digestOf(uri)).toMatch(/^(provider_denied|secret_not_found)$/);
    }
  });

  test.each<[string, (path: string, text: string, broker: { child: ChildProcess }) => void]>([
    ["written anew with an end", (path, text) => writeFileSync(path, `${text}...\n`)],
    ["put in its place", putPolicy],
    [
      "said to be whole",
      (path, text, { child }) => {
        writeFileSync(path, text);
        child.kill("SIGHUP");
      },
    ],
  ])("goes by its policy file as soon as that is %s", async (_, put) => {
    const { ci, ask, policy, ...broker } = await setUp();
    expect(await ask()).toBe(200);
    put(policy, policyOf(ci.url, nothing), broker);
    await printed(broker, '"outcome":"taken"');
    expect(await ask()).toBe(403);
    expect(await readiness(broker.url)).toEqual({ status: "ready", complaints: [] });
  });

  test("takes no half of a file, though it is a policy too, and all of it once its end is there", async () => {
    const { ci, ask, policy, ...broker } = await setUp();
    const denied = '      - { name: no, effect: deny, actions: [issue], secrets: ["env://API_TOKEN"] }\n';
    const first = policyOf(ci.url, anyVariable.replace("env://**", "env://API_*"));
    putPolicy(policy, `${policyOf(ci.url, anyVariable)}${denied}`);
    await printed(broker, '"outcome":"taken","rules":2');
    expect(await ask()).toBe(403);
    writeFileSync(policy, first);
    await printed(broker, '"outcome":"refused"');
    expect(broker.output.stderr).toContain("the file was changed in place, so it may be half written");
    expect(await ask()).toBe(403);
    appendFileSync(policy, denied);
    expect(await ask()).toBe(403);
    appendFileSync(policy, '      - { name: other, actions: [issue], secrets: ["vault://x"] }\n...\n');
    await printed(broker, '"outcome":"taken","rules":3');
    expect(await ask()).toBe(403);
    expect(await readiness(broker.url)).toEqual({ status: "ready", complaints: [] });
  });

  test("changes nothing while it is wrong, says so, and takes effect once it is right", async () => {
    const { ci, ask, policy, ...broker } = await setUp();
    putPolicy(policy, policyOf(ci.url, nothing.replace("actions", "action")));
    await printed(broker, '"outcome":"refused"');
    expect(await ask()).toBe(200);
    expect(await readiness(broker.url)).toEqual({
      status: "degraded",
      complaints: [{ part: "policy", message: "the file has 2 faults; the one before it is in force" }],
    });
    expect(broker.output.stderr).toContain("tenants.acme.rules[0].action: this field does not exist");
    putPolicy(policy, policyOf(ci.url, nothing));
    await printed(broker, '"outcome":"taken"');
    expect(await ask()).toBe(403);
    expect(await readiness(broker.url)).toEqual({ status: "ready", complaints: [] });
  });

  test("is read on SIGHUP too, where no event tells of a change", async () => {
    const { ci, ask, policy, folder, ...broker } = await setUp();
    // The link's target is in another folder, which nobody watches.
    const elsewhere = makeFolder({ "policy.yaml": policyOf(ci.url, anyVariable) });
    symlinkSync(join(elsewhere, "policy.yaml"), join(folder, "link"));
    renameSync(join(folder, "link"), policy);
    writeFileSync(join(elsewhere, "policy.yaml"), policyOf(ci.url, nothing));
    broker.child.kill("SIGHUP");
    await printed(broker, '"outcome":"taken"');
    expect(await ask()).toBe(403);
  });

  test("says of an issuer that is down that it is, and serves", async () => {
    const { ci, ask, url } = await setUp();
    ci.state.trouble = "error";
    expect(await ask()).toBe(503);
    expect(await readiness(url)).toEqual({
      status: "degraded",
      complaints: [{ part: `issuer ${ci.url}`, message: "the last attempt to fetch its keys failed" }],
    });
  });

  test("decides, and every decision is in the audit log", async () => {
    const { ask, folder } = await setUp();
    await ask();
    const [chain, decision, checkpoint] = readFileSync(join(folder, "audit.jsonl"), "utf8").split("\n");
    expect(JSON.parse(chain as string)).toMatchObject({ type: "chain", seq: 0 });
    expect(JSON.parse(checkpoint as string)).toMatchObject({ type: "checkpoint", seq: 2 });
    expect(JSON.parse(decision as string)).toMatchObject({
      outcome: "issued",
      tenant: "acme",
      principal: "ci:job",
      rule: "variables",
    });
  });
});

describe("a configuration", () => {
  const good = {
    "root-key": "k".repeat(32),
    "policy.yaml": policyOf("https://ci.example", anyVariable),
    "broker.yaml":
      "url: https://broker.example\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: audit.jsonl\n",
  };
  const check = (folder: string, env = {}) =>
    claimcheck(["broker", "check", join(folder, "broker.yaml")], { env });

  test("that is in order is said to be", async () => {
    const folder = makeFolder(good);
    expect(await check(folder)).toEqual({
      code: 0,
      stdout: `${folder}/broker.yaml and its policy are in order\n`,
      stderr: "",
    });
  });

  test("that is wrong in many places is told all of them, and does not start", async () => {
    const folder = makeFolder({
      ...good,
      "root-key": "short",
      "policy.yaml": good["policy.yaml"].replace("actions", "action"),
      "broker.yaml":
        "url: https://broker.example/path\nlisten: nowhere\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: missing/audit.jsonl\n",
    });
    for (const args of ["check", "--config"]) {
      const { code, stdout, stderr } = await claimcheck(["broker", args, join(folder, "broker.yaml")]);
      expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
      expect(stderr.split("\n").map((line) => line.replace(`${folder}/`, ""))).toEqual([
        "broker.yaml:1: url: an origin such as https://broker.example; http only on loopback",
        "broker.yaml:2: listen: HOST:PORT",
        expect.stringMatching(/^broker\.yaml:3: rootKey: .*is not a key of 32 bytes$/),
        expect.stringMatching(/^broker\.yaml:5: audit: .*missing cannot be written$/),
        "policy.yaml:9: tenants.acme.rules[0].actions: Invalid input: expected array, received undefined",
        "policy.yaml:9: tenants.acme.rules[0].action: this field does not exist",
        expect.stringMatching(/^claimcheck: .*\[usage\]$/),
        "",
      ]);
    }
  });

  test("can have its root key in the environment, but not hand it out", async () => {
    const env = { ROOT: Buffer.alloc(32, 7).toString("base64") };
    const inEnvironment = good["broker.yaml"].replace("file: root-key", "env: ROOT");
    expect(await check(makeFolder({ ...good, "broker.yaml": inEnvironment }), env)).toMatchObject({
      code: 0,
    });
    const unset = await check(makeFolder({ ...good, "broker.yaml": inEnvironment }));
    expect(unset.stderr).toContain("broker.yaml:2: rootKey: ROOT is not set");
    const handed = sourcesOf(["acme"], { own: { provider: "env", variables: ["ROOT"] } });
    const leaky = await check(makeFolder({ ...good, "broker.yaml": `${inEnvironment}${handed}` }), env);
    expect(leaky.stderr).toContain("broker.yaml:5: sources: rootKey cannot be given out as a secret (ROOT)");
  });

  test.each([
    ["previousRootKey: { env: OLD }", "OLD is not set", {}],
    ["previousRootKey: { env: OLD }", "OLD", { OLD: "short" }],
    ["redis: { env: OLD }", "a URL such as", { OLD: "http://redis.example" }],
    ["redis: redis://redis.example", "either { file: PATH } or { env: NAME }", {}],
  ])("with %s is told %s", async (line, says, env) => {
    const folder = makeFolder({ ...good, "broker.yaml": `${good["broker.yaml"]}${line}\n` });
    const { code, stderr } = await check(folder, env);
    expect(code).toBe(125);
    expect(stderr).toMatch(
      new RegExp(`broker.yaml:5: ${line.split(":")[0]}: .*${says.replace(/[{}]/g, "\\$&")}`),
    );
  });

  test.each<[files: string, fault: string | undefined]>([
    ["FOLDER/values", undefined],
    ["FOLDER/../beside", undefined],
    ["FOLDER", "has rootKey of this broker in it (FOLDER): keep one of them elsewhere"],
    ["/", "has rootKey of this broker in it (FOLDER): keep one of them elsewhere"],
    ["FOLDER/link", "has rootKey of this broker in it (FOLDER): keep one of them elsewhere"],
    ["FOLDER/hidden", "has redis of this broker in it (FOLDER/hidden): keep one of them elsewhere"],
    ["/proc/self", "has no files of its own: it lies in /proc"],
    ["/dev", "has no files of its own: it lies in /dev"],
    ["FOLDER/proc", "has no files of its own: it lies in /proc"],
  ])("that lets file:// read from %s is told %s", async (files, fault) => {
    const folder = realpathSync(makeFolder(good));
    for (const name of ["values", "hidden"]) mkdirSync(join(folder, name));
    writeFileSync(join(folder, "hidden", "url"), "redis://localhost");
    symlinkSync("hidden/url", join(folder, "url"));
    symlinkSync(folder, join(folder, "link"));
    symlinkSync("/proc", join(folder, "proc"));
    const root = files.replace("FOLDER", folder);
    const text = `${good["broker.yaml"]}redis: { file: url }
${sourcesOf(["acme"], { own: { provider: "file", roots: [{ folder: root, hardLinks: true }] } })}`;
    writeFileSync(join(folder, "broker.yaml"), text);
    const { code, stderr } = await check(folder);
    expect(code).toBe(fault ? 125 : 0);
    if (fault)
      expect(stderr).toContain(`broker.yaml:6: sources.own: ${root} ${fault.replace("FOLDER", folder)}\n`);
  });

  test("whose root key others can read is refused", async () => {
    const folder = makeFolder(good);
    chmodSync(join(folder, "root-key"), 0o644);
    expect((await check(folder)).stderr).toContain("must belong to its owner alone");
  });
});
