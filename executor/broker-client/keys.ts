/** The keys of a broker that are believed: those of its JWKS whose RFC 7638 thumbprints are pinned. */
import * as jose from "jose";
import { Failure } from "../../shared/failure.ts";
import type { FindKey } from "../../shared/statement.ts";
import { thumbprint } from "../../shared/thumbprint.ts";
import { Jwks } from "../../shared/wire.ts";
import type { BrokerCall } from "./call.ts";

export type BrokerKeys = ReturnType<typeof createBrokerKeys>;

type PublicKey = Jwks["keys"][number];

/** @param lifetime for how long they are not asked for again, in milliseconds. What could not be had is. */
export function createBrokerKeys(call: BrokerCall, pinned: readonly string[], lifetime = Infinity) {
  let asked: Promise<{ readonly keys: readonly PublicKey[]; readonly find: FindKey }> | undefined;
  let until = 0;

  async function fetch() {
    const jwks = Jwks.safeParse(await call("GET", "/.well-known/jwks.json"));
    const published = jwks.data?.keys ?? [];
    const keys = published.filter((jwk) => pinned.includes(thumbprint(jwk)));
    const found = jose.createLocalJWKSet({ keys: keysFor(keys, "sig") });
    const find: FindKey = async (header, token) => {
      const signer = published.find(({ kid, use }) => use === "sig" && kid === header?.kid);
      if (signer && !keys.includes(signer)) throw unpinned(`it signs with the key ${thumbprint(signer)}`);
      return found(header, token);
    };
    return { keys, find };
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
  if (found.length === 0) throw unpinned("it publishes other keys");
  return found;
}

/** As after its root key was exchanged; or it is another broker. */
const unpinned = (what: string) =>
  new Failure("broker_untrusted", {
    detail:
      `${what}, and your pins lack that. If the broker's root key was exchanged, its operator gives you the new ` +
      "thumbprints (`claimcheck broker keys`): add them to CLAIMCHECK_BROKER_KEYS, or to broker.keys of an executor's configuration",
  });

/** Where something could not be verified because the key is not pinned, that is what the user has to know. */
export function asUntrusted(cause: unknown, otherwise: Failure): Failure {
  for (let each = cause; each instanceof Error; each = each.cause) if (each instanceof Failure) return each;
  return otherwise;
}
