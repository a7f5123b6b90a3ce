/** A broker of version 0.1.0 ends, and today's begins over the same root key, address, policy and audit log. */
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rotatedFiles } from "../../broker/audit/search-files.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { makeProof } from "../../shared/proof.ts";
import type { IssueResponse, Problem } from "../../shared/wire.ts";
import { freePort } from "../parts/free-port.ts";
import { startIssuer } from "../parts/issuer.ts";
import { claimcheck, printed, start, entry as today } from "../support/command.ts";
import { buildFirstVersion } from "../support/first-version.ts";
import { anyVariable, makeFolder, policyOf } from "../support/served.ts";

test("an open handle is refused by name, a new one is redeemed, and the log of both is whole", async () => {
  const identity = await createIdentity();
  const issuer = await startIssuer("ES256");
  const address = `127.0.0.1:${await freePort()}`;
  const url = `http://${address}`;
  const config = (secrets: string) =>
    `url: ${url}\nlisten: ${address}\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: audit.jsonl\n${secrets}\n`;
  const sources = "sources: { variables: { provider: env, tenants: [acme], variables: [API_TOKEN] } }";
  const folder = makeFolder({
    "root-key": Uint8Array.from({ length: 32 }, (_, index) => index),
    "policy.yaml": policyOf(issuer.url, anyVariable).replace(
      "dangerouslyTokenAlone: true",
      `proofKeys: [${identity.jkt}]`,
    ),
    "before.yaml": config("env: [API_TOKEN]"),
    "now.yaml": config(sources),
  });
  const log = join(folder, "audit.jsonl");
  const accessToken = await issuer.sign({ sub: "job", aud: url });

  async function startBroker(entry: string, file: string) {
    const args = ["broker", "--config", join(folder, file)];
    const { child, output, finished } = start(args, { entry, env: { API_TOKEN: "guessme" } });
    await printed({ child, output }, "serving");
    const post = async (path: string, body: string, dpop?: string) =>
      fetch(`${url}${path}`, {
        method: "POST",
        body,
        headers: {
          "content-type": "application/json",
          authorization: `DPoP ${accessToken}`,
          ...(dpop && { dpop }),
        },
      });
    return {
      async issue(): Promise<string> {
        const answer = await post("/v1/handles", JSON.stringify({ secrets: [{ uri: "env://API_TOKEN" }] }));
        return ((await answer.json()) as { handles: [IssueResponse["handles"][number]] }).handles[0].handle;
      },
      async redeem(handle: string): Promise<Partial<Problem>> {
        const { encryptionKey, proofKey } = identity;
        const path = "/v1/redemptions";
        const body = JSON.stringify({ id: randomUUID(), handles: [handle], key: encryptionKey });
        const covered = { method: "POST", url: `${url}${path}`, accessToken, body, encryptionKey };
        return (await (await post(path, body, (await makeProof(covered, proofKey)).jwt)).json()) as object;
      },
      async stop() {
        child.kill("SIGTERM");
        await finished;
      },
    };
  }

  const first = await startBroker(buildFirstVersion(), "before.yaml");
  const handle = await first.issue();
  await first.stop();

  const now = await startBroker(today, "now.yaml");
  expect(await now.redeem(handle)).toMatchObject({ code: "handle_outdated" });
  expect(await now.redeem(await now.issue())).toHaveProperty("payload");
  const jwks = join(folder, "jwks.json");
  writeFileSync(jwks, await (await fetch(`${url}/.well-known/jwks.json`)).text());
  await now.stop();

  const files = [...(await rotatedFiles(log)).map(({ path }) => path), log];
  expect(files).toHaveLength(2);
  const verified = await claimcheck(["audit", "verify", "--keys", jwks, ...files]);
  expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining("whole") });
});
