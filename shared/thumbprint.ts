/**
 * A public key's RFC 7638 thumbprint, SHA-256, of the two kinds of keys that there are here. jose has one too, by way of
 * the Web Cryptography API, where a hash of a hundred bytes takes longer than the rest of checking a proof's claims.
 */
import { hash } from "node:crypto";

/** The members that count, and no other. */
export interface PublicJwk {
  readonly kty?: string | undefined;
  readonly crv?: string | undefined;
  readonly x?: string | undefined;
  readonly y?: string | undefined;
}

export function thumbprint({ kty, crv, x, y }: PublicJwk): string {
  // In the order of the alphabet, as the RFC wants it; an OKP key has no y.
  const members = kty === "EC" ? { crv, kty, x, y } : { crv, kty, x };
  return hash("sha256", JSON.stringify(members), "base64url");
}
