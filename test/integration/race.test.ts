/** Many redeem at once, at brokers that are processes of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import * as jose from "jose";
import { describe, expect, onTestFinished, test } from "vitest";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { prepareRedemption } from "../support/broker.ts";

interface Replica {
  readonly url: string;
  readonly accessToken: string;
}

async function startReplicas(count: number, redis?: string): Promise<Replica[]> {
  return Promise.all(Array.from({ length: count }, () => startReplica(redis)));
}

async function startReplica(redis?: string): Promise<Replica> {
  const script = new URL("../support/replica.ts", import.meta.url).pathname;
  const replica: ChildProcess = spawn(process.execPath, [script, ...(redis ? [redis] : [])], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    replica.kill("SIGKILL");
    if (replica.exitCode === null && replica.signalCode === null) await once(replica, "exit");
  });
  for await (const line of createInterface(replica.stdout!)) return JSON.parse(line);
  throw new Error("the replica ended");
}

const identity = await createIdentity();

async function issue({ url, accessToken }: Replica, uses: number): Promise<string> {
  const answer = await fetch(`${url}/v1/handles`, {
    method: "POST",
    headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
    body: JSON.stringify({ secrets: [{ uri: "env://API_TOKEN", uses, jkt: identity.jkt }] }),
  });
  return ((await answer.json()) as { handles: [{ handle: string }] }).handles[0].handle;
}

/** Redeems once for each, all at once, and counts what became of it. */
async function race(replicas: readonly Replica[], handle: string, redeemers: number) {
  const requests = await Promise.all(
    Array.from({ length: redeemers }, async (_, nth) => {
      const { url, accessToken } = replicas[nth % replicas.length]!;
      const { body, prove, authorization } = await prepareRedemption({ identity, accessToken }, [handle]);
      const headers = { authorization, dpop: await prove(), "content-type": "application/json" };
      return { url, body, headers };
    }),
  );
  const outcomes: Record<string, number> = {};
  const values: string[] = [];
  await Promise.all(
    requests.map(async ({ url, body, headers }) => {
      const answer = await fetch(`${url}/v1/redemptions`, { method: "POST", headers, body });
      const { code = "redeemed", payload } = (await answer.json()) as { code?: string; payload?: string };
      outcomes[code] = (outcomes[code] ?? 0) + 1;
      if (payload === undefined) return;
      const { plaintext } = await jose.compactDecrypt(payload, identity.decryptionKey);
      values.push(Buffer.from(plaintext).toString().split("\n")[1]!);
    }),
  );
  return { outcomes, values };
}

describe("of a thousand who redeem one single-use handle one gets it", () => {
  test("from one broker with its handles in memory", async () => {
    const replicas = await startReplicas(1);
    expect(await race(replicas, await issue(replicas[0]!, 1), 1000)).toEqual({
      outcomes: { redeemed: 1, handle_spent: 999 },
      values: ["guessme"],
    });
  });

  test("from three brokers over one Redis, and nobody after it was killed and brought the handle back", async () => {
    const server = await startRedisForTest();
    const replicas = await startReplicas(3, server.url);
    const handle = await issue(replicas[0]!, 1);
    await server.command("SAVE");
    expect(await race(replicas, handle, 1000)).toEqual({
      outcomes: { redeemed: 1, handle_spent: 999 },
      values: ["guessme"],
    });
    await server.kill();
    await server.restart();
    expect(await race(replicas, handle, 3)).toEqual({ outcomes: { handle_void: 3 }, values: [] });
    expect((await race(replicas, await issue(replicas[1]!, 1), 3)).outcomes).toEqual({
      redeemed: 1,
      handle_spent: 2,
    });
  });
});

test("a handle for seven uses is redeemed seven times, whoever asks where", async () => {
  const server = await startRedisForTest();
  const replicas = await startReplicas(2, server.url);
  const { outcomes, values } = await race(replicas, await issue(replicas[0]!, 7), 100);
  expect(outcomes).toEqual({ redeemed: 7, handle_spent: 93 });
  expect(values).toEqual(Array.from({ length: 7 }, () => "guessme"));
});

test("a revocation at one broker is in force at all when it is answered", async () => {
  const server = await startRedisForTest();
  const [one, two] = (await startReplicas(2, server.url)) as [Replica, Replica];
  const handle = await issue(one, 5);
  expect((await race([one, two], handle, 2)).outcomes).toEqual({ redeemed: 2 });
  const { jti } = jose.decodeJwt(handle);
  const authorization = `Bearer ${two.accessToken}`;
  await fetch(`${two.url}/v1/handles/${jti}`, { method: "DELETE", headers: { authorization } });
  expect((await race([one, two], handle, 2)).outcomes).toEqual({ handle_void: 2 });
});
