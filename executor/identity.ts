/** The keys of one executor process. They are made when it starts and never leave it. */
import * as jose from "jose";
import type { ProofKey } from "../shared/proof.ts";
import { thumbprint } from "../shared/thumbprint.ts";
import type { EncryptionKey } from "../shared/wire.ts";

export interface Identity {
  readonly proofKey: ProofKey;
  /** RFC 7638 thumbprint of the proof key: what a handle is bound to. */
  readonly jkt: string;
  readonly encryptionKey: EncryptionKey;
  readonly decryptionKey: jose.CryptoKey;
}

export async function createIdentity(): Promise<Identity> {
  const [proof, encryption] = await Promise.all([
    jose.generateKeyPair("EdDSA"),
    jose.generateKeyPair("ECDH-ES", { crv: "P-256" }),
  ]);
  const publicJwk = await jose.exportJWK(proof.publicKey);
  return {
    proofKey: { privateKey: proof.privateKey, publicJwk },
    jkt: thumbprint(publicJwk),
    encryptionKey: (await jose.exportJWK(encryption.publicKey)) as EncryptionKey,
    decryptionKey: encryption.privateKey,
  };
}
