/**
 * Every key of a broker comes from one root key of 32 bytes (RFC 5869, HKDF-SHA-256): replicas and restarts
 * that share it agree on all of them. The info string is
 *
 *     "claimcheck/v1/" purpose [ "\0" tenant [ "\0" base64url(SHA-256(requester)) ] ]
 *
 * so that no two purposes, tenants or requesters share a key. A requester stands at the end and has a fixed
 * length, or a tenant could be named such that it runs into one.
 */
import { createECDH, createHash, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import type * as jose from "jose";
import { signingKeyOf } from "../../shared/ed25519.ts";
import type { Secret } from "../../shared/secret.ts";
import type { SigningKey } from "../../shared/statement.ts";
import { thumbprint } from "../../shared/thumbprint.ts";
import type { Jwks } from "../../shared/wire.ts";

export const rootKeyLength = 32;

/** How many derived keys are kept; a broker has a few for each tenant and one more for each wrapping requester. */
const cacheSize = 10_000;

/** What is derived for a tenant, or for one requester of a tenant. */
export type Purpose =
  | "digest"
  | "handle"
  | "cache"
  | "redact"
  | "record"
  | "seal"
  | "digest-wrapped"
  | "cache-wrapped";

export type Derivation = ReturnType<typeof createDerivation>;

/** Takes the root key over; it lives as long as the broker. */
export function createDerivation(root: Secret) {
  if (root.expose().length !== rootKeyLength) throw new Error(`a root key has ${rootKeyLength} bytes`);
  const cache = new Map<string, KeyObject>();

  const derive = (info: string, length = 32): Buffer =>
    Buffer.from(hkdfSync("sha256", root.expose(), Buffer.alloc(0), `claimcheck/v1/${info}`, length));

  return {
    /** Names the root key without telling it. */
    id: derive("id", 6).toString("base64url"),

    /** Kept as Node.js keeps keys: to take one from bytes for each use would cost more than the use. */
    key(purpose: Purpose, tenant: string, requester?: string): KeyObject {
      const hashed = requester === undefined ? "" : `\0${sha256(requester)}`;
      const info = `${purpose}\0${tenant}${hashed}`;
      const kept = cache.get(info);
      if (kept) return kept;
      const bytes = derive(info);
      const made = createSecretKey(bytes);
      bytes.fill(0);
      // The oldest goes: that costs a derivation at times, and nobody can fill the memory with names.
      if (cache.size >= cacheSize) cache.delete(cache.keys().next().value as string);
      cache.set(info, made);
      return made;
    },

    signingKeys: () => signingKeys(derive("sign"), "sig"),
    auditKeys: () => signingKeys(derive("audit"), "audit"),
    encryptionKeys: () => encryptionKeys(derive("encrypt", 48)),
  };
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64url");

type PublicKey = Jwks["keys"][number];

async function signingKeys(
  seed: Buffer,
  use: "sig" | "audit",
): Promise<{ signingKey: SigningKey; jwk: PublicKey }> {
  const { privateKey, publicJwk } = await signingKeyOf(seed);
  seed.fill(0);
  const kid = thumbprint(publicJwk);
  return { signingKey: { kid, privateKey }, jwk: { ...publicJwk, kid, alg: "EdDSA", use } };
}

// The order of the group of P-256 (SP 800-186, section 3.2.1.3).
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** FIPS 186-5, A.2.1: 48 bytes, so that reducing them to a private key leaves no bias worth the name. */
async function encryptionKeys(bytes: Buffer): Promise<{ decryptionKey: jose.CryptoKey; jwk: PublicKey }> {
  const scalar = (BigInt(`0x${bytes.toString("hex")}`) % (order - 1n)) + 1n;
  bytes.fill(0);
  const d = Buffer.from(scalar.toString(16).padStart(64, "0"), "hex");
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(d);
  // Uncompressed: 04, then x and y.
  const point = pair.getPublicKey();
  const jwk = {
    kty: "EC",
    crv: "P-256",
    x: point.subarray(1, 33).toString("base64url"),
    y: point.subarray(33).toString("base64url"),
  } as const;
  const decryptionKey = await crypto.subtle.importKey(
    "jwk",
    { ...jwk, d: d.toString("base64url") },
    { name: "ECDH", namedCurve: "P-256" },
    false,
    ["deriveBits"],
  );
  d.fill(0);
  const kid = thumbprint(jwk);
  return { decryptionKey, jwk: { ...jwk, kid, alg: "ECDH-ES", use: "enc" } };
}
