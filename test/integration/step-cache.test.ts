/**
 * Which runs share a result and which do not, against a real broker, real handles and a real store. What the
 * container would print is said by the test.
 */

import { createSecretKey } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { openStore } from "../../executor/cache/store.ts";
import type { SecretSource } from "../../executor/plan/plan.ts";
import { Failure } from "../../shared/failure.ts";
import { allow, type Executor, startBroker, type TestBroker } from "../support/broker.ts";
import { begin, env, run, step } from "../support/cached.ts";

afterEach(() => {
  vi.useRealTimers();
});

async function setUp(
  values: Record<string, string> = { TOKEN: "the value", SAME: "the value", OTHER: "another" },
  rules?: NonNullable<Parameters<typeof startBroker>[0]>["rules"],
) {
  const environment = { ...values };
  const broker = await startBroker({ environment, ...(rules && { rules }) });
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-cache-"));
  const macKey = createSecretKey(Buffer.alloc(32));
  const store = openStore(folder, { macKey });
  return { environment, broker, executor: await broker.executor(), folder, store };
}

const issue = async ({ client }: Executor) => {
  const [issued] = await client.issue([{ uri: "env://TOKEN" }]);
  return issued!.handle;
};

const decisions = ({ audit }: TestBroker) =>
  audit.records.map(({ action, outcome }) => `${action} ${outcome}`);

const requests = ({ log }: TestBroker, route: string) => log.filter((entry) => entry.route === route).length;

describe("a result is shared", () => {
  test("with the same run again, for a check each and no second redemption", async () => {
    const { broker, executor, store } = await setUp();
    expect((await run(store, executor, step(env("TOKEN")))).hit).toBe(false);
    expect((await run(store, executor, step(env("TOKEN")))).hit).toBe(true);
    expect(decisions(broker)).toEqual([
      "issue issued",
      "check confirmed",
      "redeem released",
      "issue issued",
      "check confirmed",
    ]);
  });

  test("with another executor of the tenant", async () => {
    const { broker, executor, store } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    expect((await run(store, await broker.executor(), step(env("TOKEN")))).hit).toBe(true);
  });

  test("with a run that has the same value from elsewhere", async () => {
    const { executor, store } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    expect((await run(store, executor, step(env("SAME")))).hit).toBe(true);
  });

  test("with a run whose token was rotated, where a cache key stands for it; both are on record", async () => {
    const { broker, executor, store, environment } = await setUp();
    const rotating = step(env("TOKEN", "npm-token"));
    await run(store, executor, rotating);
    environment.TOKEN = "the value of tomorrow";
    expect((await run(store, executor, rotating)).hit).toBe(true);
    expect(decisions(broker)).toEqual([
      "issue issued",
      "check confirmed",
      "redeem released",
      "issue issued",
      "check confirmed",
    ]);
    const issued = broker.audit.records.filter(({ action }) => action === "issue");
    expect(new Set(issued.map(({ digest }) => digest)).size).toBe(2);
  });

  test("with a run that has no secrets either, once the broker has said whose it is", async () => {
    const { broker, executor, store } = await setUp();
    expect((await run(store, executor, step())).hit).toBe(false);
    expect((await run(store, executor, step())).hit).toBe(true);
    expect(decisions(broker)).toEqual(["check confirmed", "check confirmed"]);
  });
});

describe("a result is not shared", () => {
  test("with a run that has another value at the same place", async () => {
    const { executor, store, environment } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    environment.TOKEN = "the value of tomorrow";
    expect((await run(store, executor, step(env("TOKEN")))).hit).toBe(false);
  });

  test.each<[string, SecretSource, SecretSource]>([
    ["another cache key", env("TOKEN", "one"), env("TOKEN", "two")],
    ["a cache key and no other", env("TOKEN", "one"), env("TOKEN")],
    ["a cache key that is the other's value", env("TOKEN"), env("OTHER", "the value")],
  ])("between runs with %s", async (_, first, second) => {
    const { executor, store } = await setUp();
    await run(store, executor, step(first));
    expect((await run(store, executor, step(second))).hit).toBe(false);
  });

  test.each<[string, SecretSource | undefined]>([
    ["equal values", env("TOKEN")],
    ["equal cache keys", env("TOKEN", "npm-token")],
    ["no secrets", undefined],
  ])("between tenants with %s", async (_, source) => {
    const { broker, executor, store } = await setUp();
    await run(store, executor, step(source));
    const rival = await broker.executor({ tenant: "rival" });
    expect((await run(store, rival, step(source))).hit).toBe(false);
    expect((await run(store, rival, step(source))).hit).toBe(true);
  });

  test("between images", async () => {
    const { executor, store } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    expect((await run(store, executor, step(env("TOKEN")), { image: "other" })).hit).toBe(false);
  });

  test("between commands", async () => {
    const { executor, store } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    expect((await run(store, executor, step(env("TOKEN"), { args: ["make", "all"] }))).hit).toBe(false);
  });
});

describe("a stolen handle gets no result", () => {
  test("without the key that it is bound to", async () => {
    const { broker, executor, store } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    const handle = await issue(executor);
    expect((await run(store, executor, step({ handle }))).hit).toBe(true);
    const thief = await broker.executor();
    await expect(run(store, thief, step({ handle }))).rejects.toMatchObject({ code: "invalid_handle" });
  });

  test("of another tenant, be it of a step that has no secrets", async () => {
    const { broker, executor, store } = await setUp();
    await run(store, executor, step(), { layers: [`sha256:${"1".repeat(64)}`] });
    const handle = await issue(executor);
    const thief = await broker.executor({ tenant: "rival" });
    const { cache } = await begin(store, thief, [step(), step({ handle })]);
    await expect(cache.take({ index: 0, layers: [] })).rejects.toMatchObject({ code: "invalid_handle" });
  });

  test("that was revoked", async () => {
    const { executor, store, broker } = await setUp();
    await run(store, executor, step(env("TOKEN")));
    const handle = await issue(executor);
    await broker.send(
      "POST",
      "/v1/revocations",
      { all: true },
      { authorization: `Bearer ${executor.accessToken}` },
    );
    await expect(run(store, executor, step({ handle }))).rejects.toMatchObject({ code: "handle_void" });
  });
});

test("what cannot be recorded is not given out", async () => {
  const { broker, executor, store } = await setUp();
  await run(store, executor, step(env("TOKEN")));
  const { cache } = await begin(store, executor, [step(env("TOKEN"))]);
  broker.audit.broken = true;
  await expect(cache.take({ index: 0, layers: [] })).rejects.toMatchObject({ code: "audit_unavailable" });
});

test("a value that came while the step ran is not stored as the one that was asked for", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const { executor, store, environment } = await setUp();
  const slow = step(env("TOKEN"));
  const { cache, secrets } = await begin(store, executor, [slow]);
  expect(await cache.take({ index: 0, layers: [] })).toEqual([]);
  vi.setSystemTime(Date.now() + 20 * 60 * 1000);
  environment.TOKEN = "the value of tomorrow";
  await secrets.redeem(slow);
  await cache.keep(0, { layers: [], stdout: Buffer.from("made with tomorrow's"), stderr: Buffer.of() });
  await cache.close();
  expect(await store.list()).toEqual([]);
});

describe("a run goes on without the cache", () => {
  test("when it cannot be written, and says so", async () => {
    const { executor, folder } = await setUp();
    const file = join(folder, "file");
    writeFileSync(file, "");
    const store = openStore(file, { macKey: createSecretKey(Buffer.alloc(32)) });
    expect(await run(store, executor, step(env("TOKEN")))).toMatchObject({
      hit: false,
      told: ["the run continues without the cache (ENOTDIR)"],
    });
  });

  test("where the policy lets it redeem and not check", async () => {
    const { executor, store } = await setUp(undefined, [
      allow(["env://TOKEN"], { actions: ["issue", "redeem"] }),
    ]);
    const { hit, told } = await run(store, executor, step(env("TOKEN")));
    expect({ hit, told }).toEqual({ hit: false, told: ["the run continues without the cache (forbidden)"] });
  });

  test("when the broker cannot be asked whose it is, and no secret is wanted", async () => {
    const { broker, store } = await setUp();
    const lost = await broker.executor({
      proxy: () => () => {
        throw new TypeError("fetch failed");
      },
    });
    const { hit, told } = await run(store, lost, step());
    expect({ hit, told }).toEqual({
      hit: false,
      told: ["the run continues without the cache (broker_unreachable)"],
    });
    await expect(run(store, lost, step(env("TOKEN")))).rejects.toBeInstanceOf(Failure);
  });
});

test("a step that cannot be cached is not, and why is said", async () => {
  const { executor, store } = await setUp();
  const interactive = step(env("TOKEN"), { interactive: true });
  for (let again = 0; again < 2; again++) {
    const { hit, told } = await run(store, executor, interactive);
    expect({ hit, told }).toEqual({ hit: false, told: ["not cached, because it reads standard input"] });
  }
  expect(await store.list()).toEqual([]);
});

test("what a rule never lets be cached is run each time, keeps nothing, and says why", async () => {
  const never = allow(["env://TOKEN"], { limits: { ttl: 60, uses: 5, cache: "never" } });
  const { executor, store } = await setUp(undefined, [never, allow(["**"])]);
  for (let again = 0; again < 2; again++) {
    const { hit, told } = await run(store, executor, step(env("TOKEN")));
    expect({ hit, told }).toEqual({
      hit: false,
      told: ['not cached, because the policy says "cache: never" for TOKEN'],
    });
  }
  expect(await store.list()).toEqual([]);
  const steps = [step(env("OTHER")), step(env("TOKEN"))] as const;
  await run(store, executor, steps[0]);
  const { cache } = await begin(store, executor, [steps[0], { ...steps[1], args: ["test"] }]);
  expect(await cache.take({ index: 0, layers: [] })).toEqual([]);
  expect(cache.record()).toBeDefined();
});

const layersOf = (count: number) =>
  Array.from({ length: count }, (_, at) => `sha256:${String(at).repeat(64)}`);

test("behind a step that cannot be cached nothing is recorded either", async () => {
  const { executor, store } = await setUp();
  const steps = [step(env("TOKEN")), step(env("TOKEN"), { interactive: true }), step()];
  const { cache } = await begin(store, executor, steps);
  expect(await cache.take({ index: 0, layers: [] })).toEqual([]);
  expect(cache.record()).toBeDefined();
  for (const index of [1, 2]) {
    expect(await cache.take({ index, layers: layersOf(index) })).toEqual([]);
    expect(cache.record()).toBeUndefined();
  }
});

test("several results cost one check", async () => {
  const { broker, executor, store } = await setUp();
  const steps = [step(env("TOKEN")), step(env("OTHER"), { args: ["test"] })];
  const first = await begin(store, executor, steps);
  for (const [index, each] of steps.entries()) {
    expect(await first.cache.take({ index, layers: layersOf(index) })).toEqual([]);
    await first.secrets.redeem(each);
    await first.cache.keep(index, {
      layers: layersOf(index + 1),
      stdout: Buffer.from(`${index}`),
      stderr: Buffer.of(),
    });
  }
  await first.cache.close();
  const second = await begin(store, executor, steps);
  expect((await second.cache.take({ index: 0, layers: [] })).map(({ stdout }) => stdout.toString())).toEqual([
    "0",
    "1",
  ]);
  expect([requests(broker, "/v1/handles/check"), requests(broker, "/v1/redemptions")]).toEqual([3, 2]);
});

test("a result whose files were not kept is nothing to go on from", async () => {
  const { executor, store } = await setUp();
  const steps = [step(env("TOKEN")), step(env("OTHER"), { args: ["test"] })] as const;
  await run(store, executor, steps[0]);
  const { cache } = await begin(store, executor, steps);
  expect(await cache.take({ index: 0, layers: [] })).toEqual([]);
  expect(cache.record()).toBeDefined();
  await cache.close();
  expect((await run(store, executor, steps[0])).hit).toBe(true);
});

test("a result whose layer is gone, or that lies on other layers than ours, is nothing to go on from", async () => {
  const { executor, store } = await setUp();
  const steps = [step(env("TOKEN")), step(env("OTHER"), { args: ["test"] }), step(env("SAME"))] as const;
  const first = await begin(store, executor, steps);
  for (const index of [0, 1]) {
    await first.cache.take({ index, layers: layersOf(index) });
    await first.cache.keep(index, { layers: layersOf(index + 1), stdout: Buffer.of(), stderr: Buffer.of() });
  }
  await first.cache.close();
  const { cache } = await begin(store, executor, steps, { gone: layersOf(2).slice(1) });
  expect(await cache.take({ index: 0, layers: [] })).toHaveLength(1);
  await cache.close();
  for (const layers of [[`sha256:${"f".repeat(64)}`], undefined]) {
    const other = await begin(store, executor, steps);
    expect(await other.cache.take({ index: 1, layers })).toEqual([]);
    await other.cache.close();
  }
  const again = await begin(store, executor, steps);
  expect(await again.cache.take({ index: 1, layers: layersOf(1) })).toHaveLength(1);
});

test("a step that runs on a result knows the values that may be in its files", async () => {
  const { executor, store } = await setUp();
  const first = step(env("TOKEN"));
  await run(store, executor, first, { layers: [`sha256:${"1".repeat(64)}`] });
  const steps = [first, step(env("OTHER"), { args: ["test"] })] as const;
  const { cache, secrets } = await begin(store, executor, steps);
  expect(await cache.take({ index: 0, layers: [] })).toHaveLength(1);
  await secrets.redeem(steps[1]);
  const values = secrets.known().map(({ value }) => Buffer.from(value.expose()).toString());
  expect(values.sort()).toEqual(["another", "the value"]);
});
