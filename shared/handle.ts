/**
 * A handle: a compact JWS (RFC 7515) over the claims below, signed EdDSA with a key of the broker's JWKS.
 *
 *     {"alg":"EdDSA","typ":"claimcheck+jwt","kid":…}.{claims}.signature
 *
 * It carries neither the plaintext nor the URI.
 */
import * as jose from "jose";
import * as z from "zod/mini";
import { ClaimcheckError } from "./errors.ts";
import { expectKnownStatement, NewerStatement } from "./newer.ts";
import { type FindKey, type SigningKey, signStatement } from "./statement.ts";

const typ = "claimcheck+jwt";

/** RFC 7519 names where there are any. Times are seconds since 1970. */
const HandleClaims = z.object({
  iss: z.string(),
  /** The principal that may redeem it. */
  aud: z.string(),
  /** The principal that asked for it. */
  sub: z.string(),
  jti: z.string(),
  iat: z.int(),
  exp: z.int(),
  tenant: z.string(),
  run: z.optional(z.string()),
  /** What the requester calls the secret. */
  name: z.string(),
  /** The scheme of the URI that was resolved. */
  scheme: z.string(),
  /** `hmac-sha256:` and base64url: the digest of the plaintext, under a key for this `jti`. It compares with no other. */
  digest: z.string(),
  cache_key: z.optional(z.string()),
  uses: z.int(),
  /** RFC 7800: only the holder of the key with this RFC 7638 thumbprint may redeem it. */
  cnf: z.optional(z.object({ jkt: z.string() })),
  /** Hash of the one plan that it may be used in. */
  plan: z.optional(z.string()),
});

export type HandleClaims = z.infer<typeof HandleClaims>;

export async function signHandle(claims: HandleClaims, key: SigningKey): Promise<string> {
  // They are complete, and so need not pass through jose's builder of claims, which copies them.
  return signStatement(typ, claims, key);
}

/**
 * Checks signature, type, issuer and expiry.
 *
 * @throws {ClaimcheckError} `handle_expired`, `handle_outdated` or `handle_newer` for the form of another version, or
 * `invalid_handle` for everything else that is wrong with it.
 */
export async function verifyHandle(handle: string, findKey: FindKey, issuer: string): Promise<HandleClaims> {
  try {
    const verified = await jose.jwtVerify(handle, findKey, { algorithms: ["EdDSA"], typ, issuer });
    const { payload, protectedHeader } = verified;
    expectKnownStatement(protectedHeader);
    // By its digest and its cache id, values could be compared.
    if ("cache_id" in payload) throw new ClaimcheckError("handle_outdated");
    return HandleClaims.parse(payload);
  } catch (cause) {
    if (cause instanceof ClaimcheckError) throw cause;
    if (cause instanceof NewerStatement) throw new ClaimcheckError("handle_newer", { cause });
    throw new ClaimcheckError(cause instanceof jose.errors.JWTExpired ? "handle_expired" : "invalid_handle", {
      cause,
    });
  }
}
