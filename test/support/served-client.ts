/** An executor that asks a served broker for handles and redeems them, as `claimcheck run --broker` would. */
import { directFetch } from "../../bin/connect/connection.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import type { KeepHeads } from "../../executor/broker-client/heads.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import type { TestIssuer } from "../parts/issuer.ts";
import { rootKey } from "./broker.ts";

/** @param url of a broker that `serve` started. */
export async function createServedClient(url: string, ci: TestIssuer, keepHeads: KeepHeads = async () => {}) {
  const [keys, identity, token] = await Promise.all([
    createKeys(rootKey()),
    createIdentity(),
    ci.sign({ sub: "job", aud: url }),
  ]);
  const client = createBrokerClient({
    url,
    fetch: directFetch,
    findToken: () => token,
    pinnedKeys: keys.jwks.keys.map(({ kid }) => kid),
    identity,
    keepHeads,
    signal: new AbortController().signal,
  });
  return {
    /** @returns the ids of the handles that were redeemed, so many of them. */
    async redeem(count = 1): Promise<string[]> {
      const handles = await client.issue(Array.from({ length: count }, () => ({ uri: "env://API_TOKEN" })));
      const values = await client.redeem(handles, { masked: true });
      for (const { value } of values) value.wipe();
      return values.map(({ jti }) => jti);
    },
  };
}
