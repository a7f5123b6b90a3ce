/**
 * One script of requests in two worlds: in one, two secrets are equal; in the other they are not. Whoever holds no key of
 * an executor has to see the same of both, down to the length of each text and the order of what is asked of the store:
 * what takes no other way takes no other time. docs/who-sees-what.md has the table.
 */
import { describe, expect, test, vi } from "vitest";
import { createMetrics } from "../../broker/http/metrics.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import type { HandleStore } from "../../broker/store/store.ts";
import { allow, startBroker } from "../support/broker.ts";

/**
 * Ids, keys, times and ciphertexts differ from one request to the next: of these, the length is seen, and where the very
 * same text was seen before. What is signed can be read by everybody.
 */
function readShapes(all: readonly unknown[]): string[] {
  const met = new Map<string, number>();
  const meet = (text: string) => {
    if (!met.has(text)) met.set(text, met.size);
    return `<${text.length} bytes, the ${met.get(text)}th>`;
  };
  return all.map((seen) =>
    (typeof seen === "string" ? seen : JSON.stringify(seen, (_, value) => bytesAsText(value)))
      .replace(/eyJ[\w-]+\.(eyJ[\w-]+)\.[\w-]+/g, (_, claims) => Buffer.from(claims, "base64url").toString())
      .replace(/[\w.-]{20,}/g, meet)
      .replace(/\b\d{10}\b/g, "<time>"),
  );
}

const bytesAsText = (value: unknown) =>
  value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;

function watch(store: HandleStore): { store: HandleStore; asked: unknown[] } {
  const asked: unknown[] = [];
  const watched = Object.entries(store).map(([name, act]) => [
    name,
    (...args: unknown[]) => {
      asked.push(structuredClone([name, ...args]));
      return (act as (...args: unknown[]) => unknown)(...args);
    },
  ]);
  return { store: Object.fromEntries(watched) as HandleStore, asked };
}

async function world(other: string) {
  const { store, asked } = watch(memoryStore());
  const broker = await startBroker({
    environment: { PIN: "0042", OTHER: other, DENIED: "0042" },
    rules: [allow(["env://PIN", "env://OTHER", "env://MISSING", "wrap://**"])],
    store,
  });
  const [executor, rival] = [await broker.executor(), await broker.executor({ tenant: "rival" })];
  const headers = { authorization: `Bearer ${executor.accessToken}` };
  const issue = (...uris: string[]) =>
    broker.send("POST", "/v1/handles", { secrets: uris.map((uri) => ({ uri })) }, headers);

  const uris = ["env://PIN", "env://OTHER", "env://PIN"];
  const handles = await executor.client.issue(uris.map((uri) => ({ uri, uses: 2 })));
  const [keyed] = await executor.client.issue([{ uri: "env://OTHER", cacheKey: "build" }]);
  const presented = handles.map(({ handle }) => handle);
  await issue("env://OTHER", "env://MISSING");
  await issue("env://DENIED");
  const value = await broker.wrapped(other, executor.accessToken);
  await broker.send("POST", "/v1/handles/wrap", { secrets: [{ value, name: "OWN" }] }, headers);
  await broker.check(executor, [...presented, keyed!.handle]);
  await executor.client.redeem(handles, { masked: true });
  await broker.check(executor, presented);
  await broker.attest(executor, presented);
  await broker.redeem(executor, presented);
  await broker.redeem(executor, presented);
  await broker.redeem(rival, presented);
  await broker.check(rival, presented);
  await rival.client.issue(uris.map((uri) => ({ uri })));
  for (const { claims } of handles) await broker.send("GET", `/v1/handles/${claims.jti}`, undefined, headers);
  await broker.send("DELETE", `/v1/handles/${keyed!.claims.jti}`, undefined, headers);

  const metrics = createMetrics();
  for (const entry of broker.log) metrics.request({ ...entry, seconds: 0 });
  const exposed = (await metrics.read()).split("\n").filter((line) => line.startsWith("claimcheck_"));
  return { broker, asked, exposed, digests: broker.audit.records.map(({ digest }) => digest) };
}

// The head of the log that comes with a redemption has the time with a fraction, of which the zeros are left out.
vi.useFakeTimers({ toFake: ["Date", "performance"], now: 1_800_000_000_000 });
const [equal, different] = await Promise.all([world("0042"), world("1234")]);
vi.useRealTimers();

describe("whether two values are equal does not show", () => {
  test("in any answer, its status, its headers or its length", () => {
    const [one, two] = [equal, different].map(({ broker }) => readShapes(broker.answers));
    expect(one!.length).toBeGreaterThan(15);
    expect(one).toEqual(two);
  });

  test("in what the store is asked, in its order, or in how much it is given", () => {
    expect(equal.asked.length).toBeGreaterThan(15);
    expect(readShapes(equal.asked)).toEqual(readShapes(different.asked));
  });

  test("in the operator's log", () => {
    const [one, two] = [equal, different].map(({ broker }) =>
      readShapes(broker.log.map(({ seconds, ...entry }) => entry)),
    );
    expect(one).toEqual(two);
  });

  test("in metrics", () => {
    expect(equal.exposed.length).toBeGreaterThan(20);
    expect(equal.exposed).toEqual(different.exposed);
  });

  test("in the audit log but for its digests, and there it does", () => {
    const told = ({ broker }: typeof equal) =>
      readShapes(
        broker.audit.records.map(({ digest, ...record }) => ({
          ...record,
          time: "",
          digest: digest?.length,
        })),
      );
    expect(told(equal)).toEqual(told(different));
    const distinct = ({ digests }: typeof equal) => new Set(digests.filter(Boolean)).size;
    expect([distinct(equal), distinct(different)]).toEqual([3, 5]);
  });
});
