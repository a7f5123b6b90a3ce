/** Whoever can write to the store can void handles, but changes no decision and gets no other value out. */
import { describe, expect, test } from "vitest";
import { memoryStore } from "../../broker/store/memory.ts";
import type { HandleState, HandleStore, OpenHandle } from "../../broker/store/store.ts";
import type { Problem } from "../../shared/wire.ts";
import { allow, startBroker } from "../support/broker.ts";

type Fields = Partial<OpenHandle>;

/** A store that answers with whatever `forgery` makes of each handle, wherever it is asked for one. */
function tampered(forgery: (handle: HandleState | OpenHandle) => Fields): HandleStore {
  const store = memoryStore();
  const forge = <Handle extends HandleState | OpenHandle>(handle: Handle): Handle => ({
    ...handle,
    ...forgery(handle),
  });
  return {
    ...store,
    look: async (...asked) => (await store.look(...asked)).map((state) => state && forge(state)),
    take: async (...asked) => {
      const taken = await store.take(...asked);
      return "handles" in taken ? { ...taken, handles: taken.handles.map(forge) } : taken;
    },
  };
}

const environment = { API_TOKEN: "guessme", ISSUE_ONLY: "sesame" };
const rules = [allow(["env://API_TOKEN"]), allow(["env://ISSUE_ONLY"], { actions: ["issue"] })];

/** A handle that the policy lets nobody redeem, and one that it does, of a store that forges every answer. */
async function setUp(forgery: (handle: HandleState | OpenHandle) => Fields) {
  const broker = await startBroker({ environment, rules, store: tampered(forgery) });
  const executor = await broker.executor();
  const [handle, barred] = await executor.client.issue([
    { uri: "env://API_TOKEN" },
    { uri: "env://ISSUE_ONLY" },
  ]);
  const ask = (method: string) =>
    broker.send(method, `/v1/handles/${handle!.claims.jti}`, undefined, {
      authorization: `Bearer ${executor.accessToken}`,
    });
  return { broker, executor, handle: handle!, barred: barred!, ask };
}

const codeOf = async (response: Response) => ((await response.json()) as Partial<Problem>).code;

test("a store that changes nothing is no hindrance", async () => {
  const { broker, executor, handle, ask } = await setUp(() => ({}));
  expect((await ask("GET")).status).toBe(200);
  expect((await broker.check(executor, [handle.handle])).status).toBe(200);
  expect((await broker.redeem(executor, [handle.handle])).status).toBe(200);
});

test.each(["redeem", "check"] as const)(
  "another URI does not get a handle past the policy: %s",
  async (act) => {
    const { broker, executor, barred } = await setUp(() => ({ uri: "env://API_TOKEN" }));
    expect(await codeOf(await broker[act](executor, [barred.handle]))).toBe("handle_void");
    expect(broker.audit.latest).toMatchObject([
      { outcome: "denied", code: "handle_void", jti: barred.claims.jti },
    ]);
  },
);

describe.each<[field: string, forged: Fields]>([
  ["URI", { uri: "env://OTHER" }],
  ["digest", { marks: "AAAA" }],
  ["requester", { subject: "somebody" }],
  ["run", { run: "release" }],
  ["number of uses", { uses: 7 }],
  ["end", { expires: 4_102_444_800 }],
  ["code", { mac: "" }],
])("a handle whose %s was changed is none", (_, forged) => {
  test.each(["redeem", "check"] as const)("to %s", async (act) => {
    const { broker, executor, handle } = await setUp(() => forged);
    expect(await codeOf(await broker[act](executor, [handle.handle]))).toBe("handle_void");
  });

  test.each(["GET", "DELETE"])("to %s", async (method) => {
    const { ask } = await setUp(() => forged);
    expect(await codeOf(await ask(method))).toBe("not_found");
  });
});

test("a record of another handle is none", async () => {
  let first: HandleState | OpenHandle | undefined;
  const { broker, executor, handle, barred } = await setUp((handle) => {
    first ??= handle;
    return first;
  });
  expect((await broker.redeem(executor, [handle.handle])).status).toBe(200);
  expect(await codeOf(await broker.redeem(executor, [barred.handle]))).toBe("handle_void");
});

test("a value that belongs to another handle stays sealed, and the log does not leave it at released", async () => {
  const values: Uint8Array[] = [];
  const { broker, executor, handle } = await setUp((handle) => {
    if (!("sealed" in handle)) return {};
    values.push(handle.sealed);
    return { sealed: values[0] as Uint8Array };
  });
  await broker.redeem(executor, [handle.handle]);
  const [other, good] = await executor.client.issue([{ uri: "env://API_TOKEN" }, { uri: "env://API_TOKEN" }]);
  const refused = await broker.redeem(executor, [other!.handle, good!.handle]);
  expect(await refused.json()).toMatchObject({
    code: "handle_void",
    failures: [{ index: 0, code: "handle_void" }],
  });
  expect(broker.audit.latest.map(({ outcome, code }) => ({ outcome, code }))).toEqual([
    { outcome: "released", code: undefined },
    { outcome: "released", code: undefined },
    { outcome: "failed", code: "handle_void" },
    { outcome: "failed", code: "batch_refused" },
  ]);
});
