/**
 * The keys of an executor. The one that values are encrypted to is made when the process starts and never leaves it.
 * The one that it proves possession of can be kept, so that a broker can have it registered and handles be bound to it.
 */
import { randomBytes } from "node:crypto";
import * as jose from "jose";
import { signingKeyOf } from "../../shared/ed25519.ts";
import type { ProofKey } from "../../shared/proof.ts";
import { Secret } from "../../shared/secret.ts";
import { thumbprint } from "../../shared/thumbprint.ts";
import type { EncryptionKey } from "../../shared/wire.ts";

export interface Identity {
  readonly proofKey: ProofKey;
  /** RFC 7638 thumbprint of the proof key: what a handle is bound to. */
  readonly jkt: string;
  readonly encryptionKey: EncryptionKey;
  readonly decryptionKey: jose.CryptoKey;
}

/** @param proofSeed 32 bytes that are the proof key; wiped. A new one without them. */
export async function createIdentity(proofSeed = new Secret(randomBytes(32))): Promise<Identity> {
  const [proofKey, encryption] = await Promise.all([
    signingKeyOf(proofSeed.expose()),
    jose.generateKeyPair("ECDH-ES", { crv: "P-256" }),
  ]);
  proofSeed.wipe();
  return {
    proofKey,
    jkt: thumbprint(proofKey.publicJwk),
    encryptionKey: (await jose.exportJWK(encryption.publicKey)) as EncryptionKey,
    decryptionKey: encryption.privateKey,
  };
}
