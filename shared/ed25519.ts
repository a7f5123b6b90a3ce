/** A signing key from the 32 bytes that are all of it: an Ed25519 seed (RFC 8032). */
import { createPrivateKey, createPublicKey } from "node:crypto";

/** The fixed part of such a key in PKCS #8 (RFC 8410, section 7); the seed follows. */
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** @param seed stays the caller's to wipe. */
export async function signingKeyOf(seed: Uint8Array) {
  const der = Buffer.concat([pkcs8, seed]);
  const { x } = createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" })).export({
    format: "jwk",
  });
  const privateKey = await crypto.subtle.importKey("pkcs8", der, "Ed25519", false, ["sign"]);
  der.fill(0);
  return { privateKey, publicJwk: { kty: "OKP", crv: "Ed25519", x: x as string } as const };
}
