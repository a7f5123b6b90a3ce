/** What requests may hold of the broker's memory: counted in bytes, refused in time, given back. */
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { createServer } from "../../broker/http/server.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { type BudgetLimits, createBudgets, defaultBudgets } from "../../broker/quota/budget.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import { redisStore } from "../../broker/store/redis.ts";
import type { HandleStore, OpenHandle } from "../../broker/store/store.ts";
import type { ServerLimits } from "../../shared/http-hardening.ts";
import { Secret } from "../../shared/secret.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { prepareRedemption, startBroker } from "../support/broker.ts";

const mib = 1024 * 1024;

/** `large://NAME`: a value of so many bytes, and how often each was read. */
function largeProvider(size: number) {
  const reads: string[] = [];
  const provider: Provider = {
    scheme: "large",
    parameters: [],
    parse: (name) => ({ scheme: "large", canonical: `large://${name}`, shown: "large://…" }),
    async read(references) {
      reads.push(...references.map(({ canonical }) => canonical));
      return references.map(() => new Secret(new Uint8Array(size).fill(97)));
    },
  };
  return { provider, reads };
}

interface Seams {
  readonly size?: number;
  readonly budgets?: Partial<BudgetLimits>;
  readonly store?: HandleStore;
}

async function setUp({ size = mib, budgets, store = memoryStore() }: Seams = {}) {
  const { provider, reads } = largeProvider(size);
  const put: OpenHandle[] = [];
  const watched: HandleStore = {
    ...store,
    put(handles) {
      put.push(...handles);
      return store.put(handles);
    },
  };
  const broker = await startBroker({
    providers: [provider],
    store: watched,
    budgets: createBudgets({ ...defaultBudgets, ...budgets }),
  });
  const executor = await broker.executor();
  const issue = async (names: readonly string[], tenant: "acme" | "rival" = "acme") => {
    const authorization = `Bearer ${await broker.token({ tenant })}`;
    const secrets = names.map((name) => ({ uri: `large://${name}`, jkt: executor.identity.jkt }));
    const answer = await broker.send("POST", "/v1/handles", { secrets }, { authorization });
    const body = (await answer.json()) as { code?: string; handles?: { handle: string }[] };
    return {
      status: answer.status,
      code: body.code,
      wait: answer.headers.get("retry-after"),
      handles: body.handles,
    };
  };
  return { broker, executor, issue, reads, put };
}

const names = (count: number) => Array.from({ length: count }, (_, nth) => String(nth));

describe("a value that many items of a request are for", () => {
  const same = Array<string>(1000).fill("same");

  test("is read once, sealed once and kept once", async () => {
    const { issue, reads, put } = await setUp();
    expect((await issue(same)).status).toBe(200);
    expect(reads).toEqual(["large://same"]);
    expect(put).toHaveLength(1000);
    expect(new Set(put.map(({ sealed }) => sealed)).size).toBe(1);
  });

  test("is in Redis once, until its last handle expires, and every handle has it", async () => {
    const { url, command } = await startRedisForTest();
    const store = redisStore({ url });
    onTestFinished(() => store.close());
    const { executor } = await setUp({ store });
    const handles = await executor.client.issue(Array(20).fill({ uri: "large://same" }));
    expect(await command("KEYS", "*:value:*")).toHaveLength(1);
    for (const handle of handles.slice(0, 2)) {
      const [redeemed] = await executor.client.redeem([handle], { masked: true });
      expect(redeemed?.value.expose()).toHaveLength(mib);
    }
  });
});

describe("what one request can carry", () => {
  test("is bounded when it asks", async () => {
    const { issue, put, broker } = await setUp();
    expect(await issue(names(17))).toMatchObject({ status: 422, code: "values_too_large" });
    expect(put).toEqual([]);
    expect(broker.audit.latest[0]).toMatchObject({ outcome: "failed", code: "values_too_large" });
    expect((await issue(names(16))).status).toBe(200);
  });

  test("is bounded when it redeems, before anything is taken", async () => {
    const { broker, executor, issue } = await setUp();
    const handles = [...(await issue(names(10))).handles!, ...(await issue(names(10))).handles!];
    const all = handles.map(({ handle }) => handle);
    const refused = await broker.redeem(executor, all);
    expect(await refused.json()).toMatchObject({ status: 422, code: "values_too_large" });
    expect(broker.audit.latest.map(({ outcome }) => outcome)).toEqual(Array(20).fill("denied"));
    for (const part of [all.slice(0, 10), all.slice(10)]) {
      expect((await broker.redeem(executor, part)).status).toBe(200);
    }
  });

  test("a URI that is in every record has at most 1,024 bytes", async () => {
    const { issue } = await setUp({ size: 1 });
    expect((await issue(["x".repeat(1024 - "large://".length)])).status).toBe(200);
    expect(await issue(["x".repeat(1025 - "large://".length)])).toMatchObject({
      status: 400,
      code: "invalid_uri",
    });
  });
});

describe("what a tenant can hold", () => {
  test("in open handles is bounded, is another's no matter, and comes back when they expire", async () => {
    const { issue, put, broker } = await setUp({ budgets: { open: 3 * mib } });
    expect((await issue(["a", "b"])).status).toBe(200);
    const full = { status: 429, code: "quota_exceeded", wait: "5" };
    expect(await issue(["c"])).toMatchObject(full);
    expect(put).toHaveLength(2);
    expect(broker.audit.latest[0]).toMatchObject({ outcome: "denied", code: "bytes_exceeded" });
    expect((await issue(["c"], "rival")).status).toBe(200);
  });

  test("comes back when it expires", () => {
    const budgets = createBudgets({ underWay: 1, open: 100 });
    budgets.holdOpen("acme", 60, Date.now() / 1000 - 120);
    budgets.holdOpen("acme", 60, Date.now() / 1000 + 60);
    expect(() => budgets.holdOpen("acme", 60, Date.now() / 1000 + 60)).toThrow("quota");
  });

  test("in requests under way is bounded, in values and in bodies, and is given back with the answer", async () => {
    const { issue } = await setUp({ budgets: { underWay: 1.5 * mib } });
    for (let nth = 0; nth < 3; nth++) expect((await issue(["a"])).status).toBe(200);
    expect(await issue(["a", "b"])).toMatchObject({ status: 429, code: "quota_exceeded" });
    const small = await setUp({ size: 1, budgets: { underWay: 1000 } });
    expect((await small.issue(["a"])).status).toBe(200);
    expect(await small.issue(names(20))).toMatchObject({ status: 429, code: "quota_exceeded" });
    expect((await small.issue(["a"])).status).toBe(200);
  });
});

test("a sealed value takes up its own length and no more", async () => {
  const { broker } = await setUp();
  const sealed = broker.keys.seal("acme", "name", new Secret(Buffer.from("guessme")));
  expect(sealed.buffer.byteLength).toBe(sealed.length);
});

const quick: ServerLimits = { headersTimeout: 1, requestTimeout: 1, connections: 8 };

async function serve(seams: Seams = {}, limits: Partial<ServerLimits> = {}) {
  const made = await setUp(seams);
  const server = createServer(made.broker.app, { ...quick, ...limits });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { ...made, server, port: (server.address() as AddressInfo).port };
}

/** A client that keeps its half open, whatever the server does. */
function open(port: number) {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  let text = "";
  socket.setEncoding("latin1").on("data", (data: string) => {
    text += data;
  });
  return { socket, said: () => text };
}

/** Resolves once the server has let go of all its connections. */
async function emptied(server: Server): Promise<void> {
  for (;;) {
    const count = await new Promise<number>((resolve) => server.getConnections((_, found) => resolve(found)));
    if (count === 0) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const head = (headers: string) =>
  `POST /v1/handles HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${headers}\r\n`;

describe("a connection", () => {
  test.each([
    ["of nobody", "", 401],
    ["of nobody that announces a length", "content-length: 1000000\r\n", 401],
    ["of no type", "content-type: text/plain\r\n", 415],
  ])("%s is answered before its body has come", async (_, headers, status) => {
    const { port } = await serve();
    const { socket, said } = open(port);
    const framing = headers.includes("content-length") ? "" : "transfer-encoding: chunked\r\n";
    const typed = head(`${headers}${framing}`);
    socket.write(
      headers.includes("text/plain") ? typed.replace("content-type: application/json\r\n", "") : typed,
    );
    await once(socket, "data");
    expect(said()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  test.each([
    ["that says nonsense", "nonsense\r\n\r\n", 400],
    ["that says nothing", "", 408],
    ["that stops within its headers", "GET /healthz HTTP/1.1\r\nhost", 408],
  ])("%s is the server's to end, also where the client keeps it open", async (_, text, status) => {
    const { port, server } = await serve();
    const { socket, said } = open(port);
    socket.write(text);
    await once(socket, "end");
    expect(said()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    await emptied(server);
  });

  test("whose client does not read its answer is given up, and what it held is given back", async () => {
    const { port, server, broker, executor, issue } = await serve({ budgets: { underWay: 20 * mib } });
    const { handles } = await issue(names(15));
    const all = handles!.map(({ handle }) => handle);
    const { body, prove, authorization } = await prepareRedemption(executor, all);
    const { socket } = open(port);
    socket.pause();
    socket.write(
      `POST /v1/redemptions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: ${authorization}\r\ndpop: ${await prove()}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    while (!broker.audit.records.some(({ outcome }) => outcome === "released"))
      await new Promise((resolve) => setImmediate(resolve));
    expect((await issue(names(10))).status).toBe(429);
    await emptied(server);
    expect((await issue(names(10))).status).toBe(200);
  });

  test("that breaks off its body is the client's mistake, not ours", async () => {
    const { port, server, broker } = await serve();
    const { socket } = open(port);
    socket.write(head(`authorization: Bearer ${await broker.token()}\r\ncontent-length: 100\r\n`));
    socket.write("{");
    await once(server, "request");
    socket.destroy();
    while (broker.log.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(broker.log).toMatchObject([{ status: 400, code: "body_broken_off" }]);
  });

  test("of one peer leaves half of them for others", async () => {
    const { port, server } = await serve();
    const clients = Array.from({ length: 8 }, () => open(port));
    const refused: unknown[] = [];
    for (const { socket } of clients) {
      const over = () => refused.includes(socket) || refused.push(socket);
      socket.once("end", over).once("close", over);
    }
    while (refused.length < 4) await new Promise((resolve) => setImmediate(resolve));
    const count = await new Promise((resolve) => server.getConnections((_, found) => resolve(found)));
    expect(count).toBeLessThanOrEqual(4);
  });
});
