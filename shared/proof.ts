/**
 * Proof of possession of the executor's key, RFC 9449 (DPoP), with two claims more, so that nothing in the
 * request can be swapped on the way:
 *
 *     bh    base64url SHA-256 of the request's body
 *     ekt   RFC 7638 thumbprint of the encryption key in the body; only where there is one
 */
import { createHash, randomUUID } from "node:crypto";
import * as jose from "jose";
import * as z from "zod/mini";
import { ClaimcheckError } from "./errors.ts";
import { thumbprint } from "./thumbprint.ts";
import type { EncryptionKey } from "./wire.ts";

const typ = "dpop+jwt";
/** How far a proof's `iat` may be from the verifier's clock, in seconds. */
export const proofWindow = 60;

const ProofClaims = z.object({
  jti: z.string().check(z.minLength(16), z.maxLength(64)),
  htm: z.string(),
  htu: z.string(),
  iat: z.int(),
  ath: z.string(),
  bh: z.string(),
  ekt: z.optional(z.string()),
});

/** The request that a proof is for. */
export interface ProvenRequest {
  method: string;
  /** As the client sees it, without query and fragment. */
  url: string;
  accessToken: string;
  body: string;
  /** The public key that the answer is to be encrypted to, where it is. */
  encryptionKey?: EncryptionKey;
}

/** Ed25519. A host's executor keeps it in its state folder; a command makes one, or keeps it for handles that are bound to it. */
export interface ProofKey {
  privateKey: jose.CryptoKey;
  publicJwk: jose.JWK;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64url");

/** @returns the proof and its `jti`, which the broker's answer repeats. */
export async function makeProof(
  request: ProvenRequest,
  key: ProofKey,
): Promise<{ jwt: string; jti: string }> {
  const jti = randomUUID();
  const jwt = await new jose.SignJWT({ jti, ...covered(request) })
    .setProtectedHeader({ alg: "EdDSA", typ, jwk: key.publicJwk })
    .setIssuedAt()
    .sign(key.privateKey);
  return { jwt, jti };
}

/**
 * Checks that a proof was made for this very request. Whether its `jti` was seen before is the caller's to ask.
 *
 * @returns the thumbprint of the proof's key, its `jti`, and when (seconds since 1970) it stops being accepted.
 * @throws {ClaimcheckError} `invalid_proof`; which check failed is in `reason`.
 */
export async function verifyProof(proof: string | undefined, request: ProvenRequest) {
  if (!proof) throw invalidProof("proof_missing");
  const { claims, jwk } = await readProof(proof);
  if (Math.abs(Date.now() / 1000 - claims.iat) > proofWindow) throw invalidProof("proof_stale");
  const expected = covered(request);
  for (const claim of ["htm", "htu", "ath", "bh", "ekt"] as const) {
    if (claims[claim] !== expected[claim]) throw invalidProof(`proof_${claim}_mismatch`);
  }
  return {
    jkt: thumbprint(jwk),
    jti: claims.jti,
    expires: claims.iat + 2 * proofWindow,
  };
}

/** The claims that tie a proof to one request. */
function covered(request: ProvenRequest): Omit<z.infer<typeof ProofClaims>, "jti" | "iat"> {
  const { encryptionKey } = request;
  return {
    htm: request.method,
    htu: request.url,
    ath: sha256(request.accessToken),
    bh: sha256(request.body),
    ...(encryptionKey && { ekt: thumbprint(encryptionKey) }),
  };
}

async function readProof(proof: string) {
  try {
    const { payload, protectedHeader } = await jose.jwtVerify(proof, jose.EmbeddedJWK, {
      algorithms: ["EdDSA", "Ed25519", "ES256"],
      typ,
    });
    return { claims: ProofClaims.parse(payload), jwk: protectedHeader.jwk as jose.JWK };
  } catch (cause) {
    throw invalidProof("proof_malformed", cause);
  }
}

const invalidProof = (reason: string, cause?: unknown) =>
  new ClaimcheckError("invalid_proof", { reason, cause });
