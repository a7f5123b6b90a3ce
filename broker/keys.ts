/**
 * Every key of a broker comes from one root key of 32 bytes (RFC 5869, HKDF-SHA-256): replicas and restarts
 * that share it agree on all of them. The info string is `claimcheck/v1/` and the purpose, then, for what
 * belongs to a tenant, "\0" and the tenant; no two purposes and no two tenants share a key.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  randomBytes,
} from "node:crypto";
import * as jose from "jose";
import type { FindKey, SigningKey } from "../shared/handle.ts";
import { Secret } from "../shared/secret.ts";
import type { Jwks } from "../shared/wire.ts";

export const rootKeyLength = 32;

// The fixed part of an Ed25519 private key in PKCS #8 (RFC 8410, section 7); the 32-byte seed follows.
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
const nonceLength = 12;
const tagLength = 16;

export type BrokerKeys = Awaited<ReturnType<typeof createKeys>>;

/** Takes the root key over; it lives as long as the broker. */
export async function createKeys(root: Secret) {
  if (root.expose().length !== rootKeyLength) throw new Error(`a root key has ${rootKeyLength} bytes`);

  const derive = (purpose: string, tenant?: string): Buffer => {
    const info = `claimcheck/v1/${purpose}${tenant === undefined ? "" : `\0${tenant}`}`;
    return Buffer.from(hkdfSync("sha256", root.expose(), Buffer.alloc(0), info, 32));
  };

  const mac = (key: Buffer, ...parts: (string | Uint8Array)[]): string => {
    const hmac = createHmac("sha256", key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("base64url");
  };

  const { signingKey, jwks } = await signingKeys(derive("sign"));

  return {
    signingKey,
    jwks,
    findKey: jose.createLocalJWKSet(jwks) as FindKey,

    /** The handle's `digest`. */
    digest: (tenant: string, value: Secret): string =>
      `hmac-sha256:${mac(derive("digest", tenant), value.expose())}`,

    /**
     * The handle's `cache_id`. A tag byte keeps cache keys and values apart, so that neither can be made to
     * collide with the other.
     */
    cacheId: (tenant: string, of: { value: Secret } | { cacheKey: string }): string => {
      const key = derive("cache", tenant);
      return "cacheKey" in of ? mac(key, "k", of.cacheKey) : mac(key, "v", of.value.expose());
    },

    /** A URI that no rule allowed may be a pasted value: the audit log gets this instead. */
    redact: (tenant: string, text: string): string => mac(derive("redact", tenant), text).slice(0, 22),

    /** AES-256-GCM: nonce, ciphertext, tag. Opens only with the same `jti`. */
    seal(tenant: string, jti: string, value: Secret): Uint8Array {
      const nonce = randomBytes(nonceLength);
      const cipher = createCipheriv("aes-256-gcm", derive("seal", tenant), nonce).setAAD(Buffer.from(jti));
      return Buffer.concat([nonce, cipher.update(value.expose()), cipher.final(), cipher.getAuthTag()]);
    },

    /** @throws when the bytes were not sealed under this tenant and `jti`. */
    open(tenant: string, jti: string, sealed: Uint8Array): Secret {
      const tag = sealed.length - tagLength;
      const decipher = createDecipheriv(
        "aes-256-gcm",
        derive("seal", tenant),
        sealed.subarray(0, nonceLength),
        // Or a store could present four bytes as the whole tag, and guess them.
        { authTagLength: tagLength },
      )
        .setAAD(Buffer.from(jti))
        .setAuthTag(sealed.subarray(tag));
      const value = decipher.update(sealed.subarray(nonceLength, tag));
      decipher.final();
      return new Secret(value);
    },
  };
}

async function signingKeys(seed: Buffer): Promise<{ signingKey: SigningKey; jwks: Jwks }> {
  const der = Buffer.concat([pkcs8, seed]);
  const { x } = createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" })).export({
    format: "jwk",
  });
  const privateKey = await crypto.subtle.importKey("pkcs8", der, "Ed25519", false, ["sign"]);
  der.fill(0);
  seed.fill(0);
  const jwk = { kty: "OKP", crv: "Ed25519", x: x as string } as const;
  const kid = await jose.calculateJwkThumbprint(jwk);
  return { signingKey: { kid, privateKey }, jwks: { keys: [{ ...jwk, kid, alg: "EdDSA", use: "sig" }] } };
}
