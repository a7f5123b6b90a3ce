/** What the Redis store makes of a server that is down, stuck, full, restarted or replaced, and of lost answers. */
import { randomUUID } from "node:crypto";
import { describe, expect, onTestFinished, test } from "vitest";
import { redisStore } from "../../broker/store/redis.ts";
import type { HandleStore, OpenHandle } from "../../broker/store/store.ts";
import { type RedisServer, startRedisForTest } from "../parts/redis.ts";
import { startWireTap } from "../parts/wire-tap.ts";
import { fixtures, now } from "../stores/fixtures.ts";
import { startBroker } from "../support/broker.ts";
import { refusalOf } from "../support/refusal.ts";

function open(url: string, timeLimit?: number): HandleStore {
  const store = redisStore({ url, ...(timeLimit !== undefined && { timeLimit }) });
  onTestFinished(() => store.close());
  return store;
}

/** Every operation there is. */
const operations: [string, (store: HandleStore, handle: OpenHandle) => Promise<unknown>][] = [
  ["put", (store, handle) => store.put([handle])],
  ["look", (store, { tenant, jti }) => store.look(tenant, [jti])],
  ["take", (store, { tenant, jti }) => store.take(fixtures().redemption({ tenant }), [jti])],
  [
    "giveBack",
    (store, { tenant, jti }) => store.giveBack(fixtures().redemption({ tenant }), "attempt", [jti]),
  ],
  ["revoke", (store, { tenant }) => store.revoke(tenant, { all: true })],
  ["revoke one", (store, { tenant, jti }) => store.revoke(tenant, { jti })],
  ["rememberProof", (store) => store.rememberProof(randomUUID(), now() + 60)],
];

async function expectUnavailable(store: HandleStore, handle: OpenHandle): Promise<void> {
  const refusals = operations.map(([, act]) => refusalOf(() => act(store, handle)));
  for (const { code, status } of await Promise.all(refusals)) {
    expect({ code, status }).toEqual({ code: "store_unavailable", status: 503 });
  }
}

async function expectWorking(store: HandleStore): Promise<void> {
  const { handle, redemption } = fixtures();
  const single = handle();
  await store.put([single]);
  expect((await store.take(redemption(), [single.jti])).outcome).toBe("taken");
}

describe("every operation is refused with store_unavailable, and works again afterwards without a restart,", () => {
  test("while the server is down", async () => {
    const server = await startRedisForTest();
    const [store, handle] = [open(server.url), fixtures().handle()];
    await expectWorking(store);
    await server.kill();
    await expectUnavailable(store, handle);
    await server.restart();
    await expectWorking(store);
  });

  test("while the server is stuck: nothing waits longer than the time limit", async () => {
    const server = await startRedisForTest();
    const [store, patient] = [open(server.url, 300), open(server.url, 30_000)];
    await expectWorking(store);
    server.signal("SIGSTOP");
    await expectUnavailable(store, fixtures().handle());
    const meanwhile = expectWorking(patient);
    server.signal("SIGCONT");
    await meanwhile;
  });

  test("when there was never a server", async () => {
    const server = await startRedisForTest();
    await server.kill();
    const store = open(server.url, 300);
    await expectUnavailable(store, fixtures().handle());
    await server.restart();
    await expectWorking(open(server.url));
  });

  test("when a server may evict: it would forget revocations", async () => {
    const server = await startRedisForTest();
    await server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const store = open(server.url);
    await expectUnavailable(store, fixtures().handle());
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await expectWorking(store);
  });

  test("when the server is out of memory, and nothing is half done", async () => {
    const server = await startRedisForTest();
    const store = open(server.url);
    const { tenant, handle, redemption } = fixtures();
    const [a, b] = [handle(), handle()];
    await store.put([a, b]);
    await server.command("CONFIG", "SET", "maxmemory", 1);
    for (const act of [
      () => store.put([handle()]),
      () => store.take(redemption(), [a.jti, b.jti]),
      () => store.rememberProof(randomUUID(), now() + 60),
    ]) {
      expect((await refusalOf(act)).code).toBe("store_unavailable");
    }
    expect(await store.look(tenant, [a.jti, b.jti])).toMatchObject([{ left: 1 }, { left: 1 }]);
    await server.command("CONFIG", "SET", "maxmemory", 0);
    expect((await store.take(redemption(), [a.jti, b.jti])).outcome).toBe("taken");
  });
});

describe("/readyz says", () => {
  async function setUp(server: RedisServer) {
    const broker = await startBroker({ store: open(server.url) });
    return async () => {
      const answer = await broker.send("GET", "/readyz");
      const { status, detail } = (await answer.json()) as { status: unknown; detail?: string };
      return detail ?? status;
    };
  }
  const mayEvict = "store: Redis may evict; its maxmemory-policy must be noeviction";

  test("that the store is lost, and that it is back, whether anybody asks for handles or not", async () => {
    const server = await startRedisForTest();
    const readiness = await setUp(server);
    await expect.poll(readiness).toBe("ready");
    await server.kill();
    await expect.poll(readiness).toBe("store: Redis does not answer");
    await server.restart();
    await expect.poll(readiness).toBe("ready");
  });

  test("that a server may evict, from the connection on until it may not", async () => {
    const server = await startRedisForTest();
    await server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const readiness = await setUp(server);
    await expect.poll(readiness).toBe(mayEvict);
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await expect.poll(readiness).toBe("ready");
  });

  test("that a server which may not be asked does not say what it does", async () => {
    const server = await startRedisForTest();
    await server.command("ACL", "SETUSER", "default", "-info");
    const readiness = await setUp(server);
    await expect.poll(readiness).toBe("store: Redis does not say what its maxmemory-policy is");
  });

  test("that a server does not answer once an operation has waited in vain", async () => {
    const server = await startRedisForTest();
    const store = open(server.url, 300);
    await expectWorking(store);
    server.signal("SIGSTOP");
    await expectUnavailable(store, fixtures().handle());
    await expect.poll(() => store.complaints()).toMatchObject([{ message: "Redis does not answer" }]);
    server.signal("SIGCONT");
    await expect.poll(() => store.complaints()).toEqual([]);
  });
});

describe("a spent handle stays spent", () => {
  test("when kill -9 and a restart bring it back: it is void", async () => {
    const server = await startRedisForTest();
    const store = open(server.url);
    const { tenant, handle, redemption } = fixtures();
    const single = handle({ uses: 2 });
    await store.put([single]);
    await server.command("SAVE");
    await store.take(redemption(), [single.jti]);
    await store.take(redemption(), [single.jti]);
    await server.kill();
    await server.restart();
    const key = `claimcheck:{${tenant}}:handle:${single.jti}`;
    expect(await server.command("HGET", key, "left")).toBe("2");
    expect(await store.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
    expect(await store.look(tenant, [single.jti])).toEqual([undefined]);
  });

  /** Two servers, one filled from the other before the one use of a handle was taken. */
  async function fork() {
    const [first, second] = [await startRedisForTest(), await startRedisForTest()];
    const { handle, redemption } = fixtures();
    const single = handle();
    const key = `claimcheck:{${single.tenant}}:handle:${single.jti}`;
    const store = open(first.url);
    await store.put([single]);
    await fill(second, first, key);
    await store.take(redemption(), [single.jti]);
    return { first, second, store, key, single, redemption };
  }

  /** Makes a server another one's replica until it has the handle unspent, then a primary. */
  async function fill(server: RedisServer, from: RedisServer, key: string): Promise<void> {
    await server.command("REPLICAOF", "127.0.0.1", from.port);
    await expect.poll(() => server.command("HGET", key, "left"), { timeout: 30_000 }).toBe("1");
    await server.command("REPLICAOF", "NO", "ONE");
  }

  test("when a replica takes over that has not heard of it", async () => {
    const { second, single, redemption } = await fork();
    expect(await open(second.url).take(redemption(), [single.jti])).toMatchObject({ unknown: [0] });
  });

  test("when it is back in office, filled from the one that took over: its run id is still the old one", async () => {
    const { first, second, store, key, single, redemption } = await fork();
    await fill(first, second, key);
    expect(await store.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
  });
});

describe("an answer that is lost is asked for again, and what was done is not done twice:", () => {
  async function tapped() {
    const server = await startRedisForTest();
    const tap = await startWireTap(server.port);
    const store = open(tap.url);
    // Once each: what a server answers to a script that it does not know yet is not the answer to lose.
    for (const [, act] of operations) await act(store, fixtures().handle());
    return { tap, store, ...fixtures() };
  }

  test("a take takes once, and is no repeat to the one who asked once", async () => {
    const { tap, store, tenant, handle, redemption } = await tapped();
    const thrice = handle({ uses: 3 });
    await store.put([thrice]);
    const first = redemption();
    tap.loseAnswerTo(first.id);
    expect((await store.take(first, [thrice.jti])).outcome).toBe("taken");
    expect(tap.lost).toBe(1);
    expect(await store.look(tenant, [thrice.jti], first)).toMatchObject([{ left: 2, taken: true }]);
  });

  test("giving back gives back once", async () => {
    const { tap, store, tenant, handle, redemption } = await tapped();
    const twice = handle({ uses: 2 });
    await store.put([twice]);
    const first = redemption();
    const { attempt } = (await store.take(first, [twice.jti])) as { attempt: string };
    tap.loseAnswerTo(first.id);
    await store.giveBack(first, attempt, [twice.jti]);
    expect(tap.lost).toBe(1);
    expect(await store.look(tenant, [twice.jti])).toMatchObject([{ left: 2 }]);
  });

  test("a proof is new once, to the one who brought it", async () => {
    const { tap, store } = await tapped();
    const jti = randomUUID();
    tap.loseAnswerTo(jti);
    expect(await store.rememberProof(jti, now() + 60)).toBe(true);
    expect(tap.lost).toBe(1);
    expect(await store.rememberProof(jti, now() + 60)).toBe(false);
  });

  test("handles are put once", async () => {
    const { tap, store, handle, redemption } = await tapped();
    const single = handle();
    tap.loseAnswerTo(single.jti);
    await store.put([single]);
    expect(tap.lost).toBe(1);
    expect((await store.take(redemption(), [single.jti])).outcome).toBe("taken");
    expect((await store.take(redemption(), [single.jti])).outcome).toBe("refused");
  });
});

describe("what the server reads once more, after others had their turn, does nothing:", () => {
  async function setUp() {
    const server = await startRedisForTest();
    const tap = await startWireTap(server.port);
    const [store, other] = [open(tap.url), open(server.url)];
    // Once each: a script that the server does not know yet is sent as a whole.
    for (const [, act] of operations) await act(store, fixtures().handle());
    const { tenant, handle, redemption } = fixtures();
    return { tap, store, other, tenant, redemption, single: handle({ run: "1842" }), handle };
  }

  test("a put does not bring back a handle that was revoked", async () => {
    const { tap, store, other, tenant, single } = await setUp();
    tap.keep(single.jti);
    await store.put([single]);
    await other.revoke(tenant, { jti: single.jti });
    await tap.sendAgain();
    expect(await other.look(tenant, [single.jti])).toEqual([undefined]);
  });

  test("a put does not bring uses back", async () => {
    const { tap, store, other, redemption, single } = await setUp();
    tap.keep(single.jti);
    await store.put([single]);
    await other.take(redemption(), [single.jti]);
    await tap.sendAgain();
    expect(await other.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
  });

  test("a look takes nothing", async () => {
    const { tap, store, other, tenant, single } = await setUp();
    await store.put([single]);
    tap.keep(single.jti);
    await store.look(tenant, [single.jti]);
    await tap.sendAgain();
    expect(await other.look(tenant, [single.jti])).toMatchObject([{ left: 1 }]);
  });

  test("a take takes nothing after it was given back", async () => {
    const { tap, store, other, tenant, redemption, single } = await setUp();
    await store.put([single]);
    const first = redemption();
    tap.keep(first.id);
    const { attempt } = (await store.take(first, [single.jti])) as { attempt: string };
    await other.giveBack(first, attempt, [single.jti]);
    await tap.sendAgain();
    expect(await other.look(tenant, [single.jti], first)).toMatchObject([{ left: 1, taken: false }]);
  });

  test("a give-back leaves what was taken since under the same redemption id", async () => {
    const { tap, store, other, redemption, single } = await setUp();
    await store.put([single]);
    const first = redemption();
    const { attempt } = (await store.take(first, [single.jti])) as { attempt: string };
    tap.keep(first.id);
    await store.giveBack(first, attempt, [single.jti]);
    expect((await other.take(first, [single.jti])).outcome).toBe("taken");
    await tap.sendAgain();
    expect(await other.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
  });

  test("a revocation of many leaves what was put since", async () => {
    const { tap, store, other, tenant, handle, single } = await setUp();
    await store.put([single]);
    tap.keep("run:1842");
    await store.revoke(tenant, { run: "1842" });
    const later = handle({ run: "1842" });
    await other.put([later]);
    await tap.sendAgain();
    expect(await other.look(tenant, [single.jti, later.jti])).toMatchObject([undefined, { left: 1 }]);
  });

  test("a revocation of one finds it revoked", async () => {
    const { tap, store, other, tenant, single } = await setUp();
    await store.put([single]);
    tap.keep(single.jti);
    await store.revoke(tenant, { jti: single.jti });
    await tap.sendAgain();
    expect(await other.look(tenant, [single.jti])).toEqual([undefined]);
  });

  test("a proof stays used", async () => {
    const { tap, store, other } = await setUp();
    const jti = randomUUID();
    tap.keep(jti);
    await store.rememberProof(jti, now() + 60);
    await tap.sendAgain();
    expect(await other.rememberProof(jti, now() + 60)).toBe(false);
  });
});

test("a handle of one use is released once, however its give-back is delivered", async () => {
  const server = await startRedisForTest();
  const tap = await startWireTap(server.port);
  const environment = { API_TOKEN: "guessme" };
  const one = await startBroker({ environment, store: open(tap.url) });
  const two = await startBroker({ environment, store: open(server.url), issuers: one.issuers });
  const executor = await one.executor();
  const issue = async () => (await executor.client.issue([{ uri: "env://API_TOKEN" }]))[0]!.handle;
  // A script that the server does not know yet is sent as a whole.
  for (const [, act] of operations) await act(one.store, fixtures().handle());
  const single = await issue();
  const id = randomUUID();
  tap.keep(id);
  one.audit.broken = true;
  expect((await one.redeem(executor, [single], { id })).status).toBe(503);
  expect((await two.redeem(executor, [single], { id })).status).toBe(200);
  await tap.sendAgain();
  expect((await two.redeem(executor, [single])).status).toBe(410);
});

describe("what a server forgets voids:", () => {
  async function revoked() {
    const server = await startRedisForTest();
    const store = open(server.url);
    const { tenant, handle, redemption } = fixtures();
    const [before, after] = [handle(), handle()];
    await store.put([before]);
    await store.revoke(tenant, { all: true });
    await server.command("DEL", `claimcheck:{${tenant}}:revocations`);
    return { store, tenant, redemption, before, after };
  }

  test("a handle that was revoked stays so without the key of the revocations", async () => {
    const { store, tenant, redemption, before } = await revoked();
    expect(await store.look(tenant, [before.jti])).toEqual([undefined]);
    expect(await store.take(redemption(), [before.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
  });

  test("and with one that was made anew", async () => {
    const { store, tenant, redemption, before, after } = await revoked();
    await store.put([after]);
    expect(await store.look(tenant, [before.jti])).toEqual([undefined]);
    expect(await store.take(redemption(), [before.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
    expect((await store.take(redemption(), [after.jti])).outcome).toBe("taken");
  });
});

describe("a server that is not what it was when the connection began", () => {
  test("may evict now: every operation is refused, and /readyz says so", async () => {
    const server = await startRedisForTest();
    const store = open(server.url);
    await expectWorking(store);
    await server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    await expect
      .poll(() => store.complaints(), { timeout: 10_000 })
      .toMatchObject([{ message: expect.stringContaining("may evict"), serving: false }]);
    await expectUnavailable(store, fixtures().handle());
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await expectWorking(store);
  });

  test("does not answer any more: that is known also when nobody asks for anything", async () => {
    const server = await startRedisForTest();
    const store = open(server.url, 300);
    await expectWorking(store);
    server.signal("SIGSTOP");
    await expect
      .poll(() => store.complaints(), { timeout: 10_000 })
      .toMatchObject([{ message: "Redis does not answer" }]);
    server.signal("SIGCONT");
    await expect.poll(() => store.complaints(), { timeout: 10_000 }).toEqual([]);
  });

  test("is a replica now: it answers no look, and hears no revocation", async () => {
    const [server, primary] = [await startRedisForTest(), await startRedisForTest()];
    const store = open(server.url);
    const { tenant, handle } = fixtures();
    const single = handle();
    await store.put([single]);
    await server.command("REPLICAOF", "127.0.0.1", primary.port);
    expect((await refusalOf(() => store.look(tenant, [single.jti]))).code).toBe("store_unavailable");
    expect((await refusalOf(() => store.revoke(tenant, { all: true }))).code).toBe("store_unavailable");
    expect((await refusalOf(() => store.revoke(tenant, { jti: single.jti }))).code).toBe("store_unavailable");
  });

  test("does not have the name any more: the broker leaves it for the one that has, though it still answers", async () => {
    const [old, next] = [await startRedisForTest(), await startRedisForTest()];
    const tap = await startWireTap(old.port);
    const store = open(tap.url);
    const { tenant, handle, redemption } = fixtures();
    const single = handle();
    await store.put([single]);
    tap.leadTo(next.port);
    await open(next.url).revoke(tenant, { all: true });
    await expect.poll(() => store.look(tenant, [single.jti]), { timeout: 10_000 }).toEqual([undefined]);
    expect(await store.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
    expect(await open(old.url).look(tenant, [single.jti])).toMatchObject([{ left: 1 }]);
  });
});

test("a client is told 503 with Retry-After, and what it asked can be asked again", async () => {
  const server = await startRedisForTest();
  const broker = await startBroker({ environment: { API_TOKEN: "guessme" }, store: open(server.url) });
  const executor = await broker.executor();
  const [single] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
  const id = randomUUID();
  expect((await broker.redeem(executor, [single!.handle], { id })).status).toBe(200);
  expect((await broker.redeem(executor, [single!.handle], { id })).status).toBe(200);
  expect(broker.audit.latest).toMatchObject([{ outcome: "repeat" }]);
  await server.kill();
  const refused = await broker.redeem(executor, [single!.handle]);
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("2");
  expect(await refused.json()).toMatchObject({ code: "store_unavailable" });
  await server.restart();
  expect((await broker.redeem(executor, [single!.handle], { id })).status).toBe(410);
});
