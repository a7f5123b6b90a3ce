/** A root key is exchanged while handles are out. */
import { describe, expect, test } from "vitest";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { Secret } from "../../shared/secret.ts";
import { rootKey, startBroker } from "../support/broker.ts";

const newRoot = () => new Secret(Buffer.alloc(32, 0xaa));
const environment = { API_TOKEN: "guessme" };
const ask = [{ uri: "env://API_TOKEN" }];

async function rotate() {
  const before = await startBroker({ environment });
  const during = await startBroker({
    environment,
    store: before.store,
    rootKey: newRoot(),
    rotation: { previous: rootKey() },
  });
  const after = await startBroker({ environment, store: before.store, rootKey: newRoot() });
  const identity = await createIdentity();
  return { before, during, after, identity };
}

describe("while a root key is exchanged", () => {
  test("handles under the one before are still redeemed and checked, and new ones are under the new one", async () => {
    const { before, during, identity } = await rotate();
    const [old] = await (await before.executor({ identity })).client.issue(ask);
    const executor = await during.executor({ identity });
    const [made] = await executor.client.issue(ask);
    expect((await during.check(executor, [old!.handle, made!.handle])).status).toBe(200);
    expect((await during.redeem(executor, [old!.handle, made!.handle])).status).toBe(200);
  });

  test("the prefix of a digest tells which of them it is under", async () => {
    const { before, during, after } = await rotate();
    const digestOf = async (broker: typeof before) =>
      (await (await broker.executor()).client.issue(ask))[0]!.claims.digest;
    const prefixes = (await Promise.all([before, during, after].map(digestOf))).map((digest) =>
      digest.slice(0, 21),
    );
    expect(prefixes[0]).toMatch(/^hmac-sha256:.{8}:$/);
    expect(prefixes[1]).not.toBe(prefixes[0]);
    expect(prefixes[2]).toBe(prefixes[1]);
  });

  test("both keys of each use are published, the current one first", async () => {
    const { before, during, after } = await rotate();
    const kids = (broker: typeof before, use: string) =>
      broker.keys.jwks.keys.filter((key) => key.use === use).map(({ kid }) => kid);
    for (const use of ["sig", "enc"]) {
      expect(kids(during, use)).toEqual([...kids(after, use), ...kids(before, use)]);
    }
  });

  test("a value that was encrypted to the key before is still taken", async () => {
    const { before, during } = await rotate();
    const accessToken = await during.token();
    const value = await before.wrapped("guessme", accessToken);
    const authorization = `Bearer ${accessToken}`;
    const answer = await during.send("POST", "/v1/handles/wrap", { secrets: [{ value }] }, { authorization });
    expect(answer.status).toBe(200);
  });

  test("and once it is over, handles under the old one are nothing", async () => {
    const { before, after, identity } = await rotate();
    const [old] = await (await before.executor({ identity })).client.issue(ask);
    expect((await after.redeem(await after.executor({ identity }), [old!.handle])).status).toBe(400);
  });
});

test("sealing keys are exchanged apart: the log's digests stay, and what was sealed before still opens", async () => {
  const before = await startBroker({ environment });
  const resealing = await startBroker({
    environment,
    store: before.store,
    rotation: { sealing: [newRoot()] },
  });
  const identity = await createIdentity();
  const [old] = await (await before.executor({ identity })).client.issue(ask);
  const executor = await resealing.executor({ identity });
  const [made] = await executor.client.issue(ask);
  expect(resealing.audit.latest[0]!.digest).toBe(before.audit.latest[0]!.digest);
  expect(made!.claims.jti).not.toBe(old!.claims.jti);
  const sealed = resealing.keys.seal("acme", "jti", new Secret(Buffer.from("guessme")));
  expect(() => before.keys.unseal("acme", "jti", sealed)).toThrow();
  expect((await resealing.redeem(executor, [old!.handle, made!.handle])).status).toBe(200);
});
