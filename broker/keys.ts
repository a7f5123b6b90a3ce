/**
 * What a broker does with its keys: signing, digests, cache ids, sealing. While a root key is exchanged there are
 * two: the current one signs, digests and seals, the one before still verifies, decrypts and opens.
 */
import { createCipheriv, createDecipheriv, createHmac, type KeyObject, randomBytes } from "node:crypto";
import * as jose from "jose";
import type { FindKey } from "../shared/handle.ts";
import { Secret } from "../shared/secret.ts";
import type { Jwks } from "../shared/wire.ts";
import { createDerivation } from "./derivation.ts";

const nonceLength = 12;
const tagLength = 16;

export interface Rotation {
  /** The root key before the current one, until the last handle under it has expired. */
  readonly previous?: Secret;
  /**
   * Root keys for sealing alone, the current one first: they can be exchanged without a change of any digest.
   * Without them the root keys seal too.
   */
  readonly sealing?: readonly [Secret, ...Secret[]];
}

export type BrokerKeys = Awaited<ReturnType<typeof createKeys>>;

/** Takes the root keys over; they live as long as the broker. */
export async function createKeys(root: Secret, { previous, sealing }: Rotation = {}) {
  const current = createDerivation(root);
  const roots = [current, ...(previous ? [createDerivation(previous)] : [])] as const;
  const seals = sealing ? [...sealing.map(createDerivation), ...roots] : roots;
  const signing = await Promise.all(roots.map((each) => each.signingKeys()));
  const encryption = await Promise.all(roots.map((each) => each.encryptionKeys()));
  const signatureKeys = signing.map(({ jwk }) => jwk);
  const jwks: Jwks = { keys: [...signatureKeys, ...encryption.map(({ jwk }) => jwk)] };

  const mac = (key: KeyObject, ...parts: (string | Uint8Array)[]): string => {
    const hmac = createHmac("sha256", key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("base64url");
  };

  return {
    signingKey: (signing[0] as (typeof signing)[0]).signingKey,
    jwks,
    findKey: jose.createLocalJWKSet({ keys: signatureKeys }) as FindKey,

    /** Finds the private half for the `kid` that a value was encrypted to. */
    findDecryptionKey: (kid: string | undefined): jose.CryptoKey | undefined =>
      encryption.find(({ jwk }) => jwk.kid === kid)?.decryptionKey,

    /**
     * The handle's `digest`: `hmac-sha256:`, the id of the root key, ":", the MAC. A value that a requester brought
     * is digested under a key of that requester: trying values and comparing digests tells about its own alone.
     */
    digest(tenant: string, value: Secret, wrappedBy?: string): string {
      const purpose = wrappedBy === undefined ? "digest" : "digest-wrapped";
      return `hmac-sha256:${current.id}:${mac(current.key(purpose, tenant, wrappedBy), value.expose())}`;
    },

    /**
     * The handle's `cache_id`. A tag byte keeps cache keys and values apart, so that neither can be made to
     * collide with the other; a value that a requester brought has that requester's key, as in `digest`.
     */
    cacheId(
      tenant: string,
      of: { value: Secret; wrappedBy?: string | undefined } | { cacheKey: string },
    ): string {
      if ("cacheKey" in of) return mac(current.key("cache", tenant), "k", of.cacheKey);
      const purpose = of.wrappedBy === undefined ? "cache" : "cache-wrapped";
      return mac(current.key(purpose, tenant, of.wrappedBy), "v", of.value.expose());
    },

    /** A URI that no rule allowed may be a pasted value: the audit log gets this instead. */
    redact: (tenant: string, text: string): string => mac(current.key("redact", tenant), text).slice(0, 22),

    /** AES-256-GCM: nonce, ciphertext, tag. Opens only with the same `jti`. */
    seal(tenant: string, jti: string, value: Secret): Uint8Array {
      const nonce = randomBytes(nonceLength);
      const key = seals[0].key("seal", tenant);
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(jti));
      return Buffer.concat([nonce, cipher.update(value.expose()), cipher.final(), cipher.getAuthTag()]);
    },

    /** @throws when the bytes were not sealed under this tenant and `jti`. */
    open(tenant: string, jti: string, sealed: Uint8Array): Secret {
      const failures: unknown[] = [];
      for (const each of seals) {
        try {
          return unseal(each.key("seal", tenant), jti, sealed);
        } catch (error) {
          failures.push(error);
        }
      }
      throw failures[0];
    },
  };
}

function unseal(key: KeyObject, jti: string, sealed: Uint8Array): Secret {
  const tag = sealed.length - tagLength;
  const decipher = createDecipheriv(
    "aes-256-gcm",
    key,
    sealed.subarray(0, nonceLength),
    // Or a store could present four bytes as the whole tag, and guess them.
    { authTagLength: tagLength },
  )
    .setAAD(Buffer.from(jti))
    .setAuthTag(sealed.subarray(tag));
  const value = decipher.update(sealed.subarray(nonceLength, tag));
  try {
    decipher.final();
  } catch (error) {
    // Under the wrong key it is noise, but it was never ours to hand on.
    value.fill(0);
    throw error;
  }
  return new Secret(value);
}
