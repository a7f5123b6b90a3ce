/** How a broker ends, under load: whatever it accepted is answered, and what was answered is in the log. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { processesContaining, until } from "../parts/host.ts";
import { startIssuer } from "../parts/issuer.ts";
import { printed } from "../support/command.ts";
import { anyVariable, makeFolder, policyOf, putPolicy, serve } from "../support/served.ts";
import { sourcesOf, variables } from "../support/sources.ts";

const rules = (command: string) =>
  `${anyVariable}      - { name: late, actions: [issue], secrets: [{ exact: ${JSON.stringify(`cmd://${command}`)} }] }\n`;

/** A broker, a client of it, and a secret that is there when the test says so. */
async function start(shutdown: string) {
  const ci = await startIssuer("ES256");
  const folder = makeFolder({});
  const command = `touch ${folder}/started; until [ -e ${folder}/go ]; do sleep 0.02; done; printf late`;
  const fields = `${sourcesOf(["acme"], { ...variables, commands: { provider: "cmd", commands: [command] } })}shutdown: ${shutdown}\n`;
  const broker = await serve(ci, fields);
  putPolicy(broker.policy, policyOf(ci.url, rules(command)));
  await printed(broker, '"outcome":"taken"');
  const token = await ci.sign({ sub: "job", aud: broker.url });
  const [, keys = ""] = /keys ([\w,-]+)/.exec(broker.output.stderr) ?? [];
  const connect = async () =>
    createBrokerClient({
      url: broker.url,
      fetch,
      findToken: () => token,
      pinnedKeys: keys.split(","),
      identity: await createIdentity(),
      keepHeads: async () => {},
      signal: new AbortController().signal,
    });
  const slow = async () => {
    const answer = (await connect())
      .issue([{ uri: `cmd://${command}` }])
      .catch((failure: unknown) => failure);
    while (!existsSync(join(folder, "started"))) await setImmediate();
    return { answer, finish: () => writeFileSync(join(folder, "go"), "") };
  };
  const commandEnds = () => until(() => processesContaining("cmdline", `${folder}/go`).length === 0);
  return { ...broker, connect, slow, commandEnds };
}

test("under load: not ready, everything that was asked is answered, and the log has all of it", async () => {
  const { url, child, finished, connect, folder } = await start("{ delay: 2, limit: 20 }");
  let draining = false;
  const redeemed: string[] = [];
  const failed: unknown[] = [];
  const lane = async () => {
    const client = await connect();
    while (!draining) {
      const handles = await client.issue([{ uri: "env://API_TOKEN" }]);
      await client.redeem(handles, { masked: true });
      redeemed.push(handles[0]!.claims.jti);
      if (redeemed.length === 50) child.kill("SIGTERM");
    }
  };
  const watch = async () => {
    while (!draining) {
      const answer = await fetch(`${url}/readyz`);
      const { detail } = (await answer.json()) as { detail?: string };
      draining = answer.status === 503 && detail === "broker: it is draining, to end soon";
      if (draining) expect(answer.headers.get("connection")).toBe("close");
    }
  };
  await Promise.all([
    watch(),
    ...Array.from({ length: 8 }, () => lane().catch((error) => failed.push(error))),
  ]);
  expect(failed).toEqual([]);
  expect(await finished).toMatchObject({ code: 0 });
  expect(redeemed.length).toBeGreaterThanOrEqual(50);
  const released = readFileSync(join(folder, "audit.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.includes('"outcome":"released"'))
    .map((line) => JSON.parse(line).jti);
  expect(released.sort()).toEqual(redeemed.sort());
});

test("what is under way is answered after nothing new is accepted any more", async () => {
  const { url, child, finished, slow } = await start("{ delay: 0, limit: 20 }");
  const { answer, finish } = await slow();
  child.kill("SIGTERM");
  while (
    await fetch(`${url}/healthz`).then(
      () => true,
      () => false,
    )
  )
    await setImmediate();
  finish();
  expect(await answer).toMatchObject([{ claims: { scheme: "cmd" } }]);
  expect((await finished).code).toBe(0);
});

test("a second signal ends it at once", async () => {
  const { child, finished, slow, url, commandEnds } = await start("{ delay: 20, limit: 20 }");
  const { answer } = await slow();
  child.kill("SIGTERM");
  while ((await fetch(`${url}/readyz`)).status === 200) await setImmediate();
  child.kill("SIGTERM");
  expect((await finished).code).toBe(143);
  expect(await answer).toMatchObject({ code: "broker_unreachable" });
  await commandEnds();
});

test("who does not come to an end is not waited for longer than the limit", async () => {
  const { child, finished, slow, commandEnds } = await start("{ delay: 0, limit: 1 }");
  await slow();
  child.kill("SIGTERM");
  const { code, stderr } = await finished;
  expect(code).toBe(124);
  expect(stderr).toContain("requests were still under way after 1 s [timed_out]");
  await commandEnds();
});
