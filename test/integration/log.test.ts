/** The operator's log of a real broker: what it says of requests, and that nobody can put a secret into it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { startIssuer } from "../parts/issuer.ts";
import { startBroker } from "../support/broker.ts";
import { printed } from "../support/command.ts";
import { anyVariable, policyOf, putPolicy, serve } from "../support/served.ts";
import { sourcesOf } from "../support/sources.ts";

const secret = "hunter2correcthorse";

/** An upstream that says the secret in every way that an answer has. */
async function startIndiscreet(): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(400, secret, { "x-reason": secret, "content-type": "application/json" });
    response.end(JSON.stringify({ errors: [`cannot read ${secret}`] }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function start() {
  const ci = await startIssuer("ES256");
  const env = { API_TOKEN: secret, VAULT_TOKEN: secret };
  const sources = sourcesOf(["acme"], {
    variables: { provider: "env", variables: ["API_TOKEN"] },
    commands: { provider: "cmd", commands: ["cat /nowhere"] },
    vault: { provider: "vault", address: await startIndiscreet(), auth: { token: "env://VAULT_TOKEN" } },
  });
  const broker = await serve(ci, sources, env);
  putPolicy(
    broker.policy,
    policyOf(ci.url, anyVariable.replace('["env://**"]', '["env://**", "vault://**", "cmd://cat /nowhere"]')),
  );
  await printed(broker, '"outcome":"taken"');
  const authorization = `Bearer ${await ci.sign({ sub: "job", aud: broker.url })}`;
  const send = (path: string, headers: Record<string, string>, body?: unknown, method = "POST") =>
    fetch(`${broker.url}${path}`, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
  const ask = (uri: string, headers = {}) =>
    send("/v1/handles", { authorization, ...headers }, { secrets: [{ uri }] });
  const lines = (): Record<string, unknown>[] =>
    broker.output.stderr
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  return { ...broker, ci, authorization, send, ask, lines };
}

test("a request is one line, with its id, its trace, its route and what came of it", async () => {
  const { ask, lines, ...broker } = await start();
  const before = lines().length;
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  await ask("env://API_TOKEN", { traceparent: `00-${trace}-00f067aa0ba902b7-01` });
  await printed(broker, `"trace":"${trace}"`);
  expect(lines().slice(before)).toEqual([
    {
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      request: expect.stringMatching(/^[0-9a-f-]{36}$/),
      trace,
      method: "POST",
      route: "/v1/handles",
      status: 200,
      seconds: expect.any(Number),
    },
  ]);
});

test.each([
  "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
  "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
  "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
  secret,
])("what is no trace is not taken for one: %s", async (traceparent) => {
  const { ask, lines, ...broker } = await start();
  await ask("env://MISSING", { traceparent });
  await printed(broker, '"code":"secrets_unavailable"');
  expect(lines().at(-1)).not.toHaveProperty("trace");
});

test("no line holds a secret that a client or an upstream puts wherever it can", async () => {
  const { ask, send, authorization, lines, ci, ...broker } = await start();
  const before = lines().length;
  const hostile = {
    "user-agent": secret,
    "x-request-id": secret,
    traceparent: secret,
    dpop: secret,
    cookie: secret,
  };
  const answers = [
    await ask("env://API_TOKEN", hostile),
    await ask(secret, hostile),
    await ask(`env://${secret}`),
    await ask(`nosuch://${secret}`),
    await ask(`vault://${secret}#${secret}`),
    await ask("cmd://cat /nowhere"),
    await send("/v1/handles", { authorization: `Bearer ${secret}` }, { secrets: [] }),
    await send("/v1/handles", { authorization: secret }, secret),
    await send("/v1/handles", { authorization }, `{"${secret}":1}`),
    await send(
      "/v1/handles",
      { authorization },
      { secrets: [{ uri: "env://A", [secret]: secret }], run: secret },
    ),
    await send(
      "/v1/redemptions",
      { authorization, ...hostile },
      { id: secret, handles: [secret], key: secret },
    ),
    await send("/v1/handles/wrap", { authorization }, { secrets: [{ value: secret, name: secret }] }),
    await send("/v1/revocations", { authorization }, { run: secret }),
    await send(`/v1/handles/${secret}`, { authorization }, undefined, "GET"),
    await send(`/${secret}?token=${secret}#${secret}`, {}, undefined, "GET"),
    await send(`/v1/handles?${secret}=${secret}`, { authorization, "content-type": secret }, secret),
    await send("/v1/handles", {
      authorization: `Bearer ${await ci.sign({ sub: secret, aud: secret, [secret]: secret })}`,
    }),
  ];
  expect(new Set(answers.map(({ status }) => status)).size).toBeGreaterThan(4);
  await send("/healthz", {}, undefined, "GET");
  await printed(broker, '"route":"/healthz"');
  expect(lines().length - before).toBe(answers.length + 1);
  const { stderr } = broker.output;
  for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString("base64url")])
    expect(stderr).not.toContain(form);
});

test("the requests of one client are one trace, and another's are another", async () => {
  const broker = await startBroker({ environment: { API_TOKEN: secret } });
  for (let nth = 0; nth < 2; nth++) {
    const { client } = await broker.executor();
    await client.redeem(await client.issue([{ uri: "env://API_TOKEN" }]), { masked: true });
  }
  const traces = broker.log.map(({ trace }) => trace);
  expect(traces).toHaveLength(6);
  expect(new Set(traces.slice(0, 3)).size).toBe(1);
  expect(new Set(traces).size).toBe(2);
});
