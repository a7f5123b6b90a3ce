/** The keys of a broker that are believed: those of its JWKS whose RFC 7638 thumbprints are pinned. */
import * as jose from "jose";
import type { FindKey } from "../shared/handle.ts";
import { thumbprint } from "../shared/thumbprint.ts";
import { Jwks } from "../shared/wire.ts";
import type { BrokerCall } from "./broker-call.ts";
import { Failure } from "./failure.ts";

export type BrokerKeys = ReturnType<typeof createBrokerKeys>;

type PublicKey = Jwks["keys"][number];

/** @param lifetime for how long they are not asked for again, in milliseconds. What could not be had is. */
export function createBrokerKeys(call: BrokerCall, pinned: readonly string[], lifetime = Infinity) {
  let asked: Promise<{ readonly keys: readonly PublicKey[]; readonly find: FindKey }> | undefined;
  let until = 0;

  async function fetch() {
    const jwks = Jwks.safeParse(await call("GET", "/.well-known/jwks.json"));
    const keys = jwks.data?.keys.filter((jwk) => pinned.includes(thumbprint(jwk))) ?? [];
    return { keys, find: jose.createLocalJWKSet({ keys: keysFor(keys, "sig") }) };
  }

  function ask() {
    if (asked && Date.now() < until) return asked;
    until = Date.now() + lifetime;
    const asking = fetch();
    asked = asking;
    asking.catch(() => {
      if (asked === asking) asked = undefined;
    });
    return asking;
  }

  return {
    /** Finds the key that signed something. */
    findKeys: async (): Promise<FindKey> => (await ask()).find,

    /** What values are encrypted to. */
    wrappingKey: async (): Promise<PublicKey> => keysFor((await ask()).keys, "enc")[0] as PublicKey,
  };
}

function keysFor(keys: readonly PublicKey[], use: PublicKey["use"]): PublicKey[] {
  const found = keys.filter((jwk) => jwk.use === use);
  if (found.length === 0) throw new Failure("broker_untrusted", { detail: "none of its keys is pinned" });
  return found;
}
