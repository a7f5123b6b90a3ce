/** Who is asking: the bearer token of a request, checked against the issuers that this broker trusts. */
import * as jose from "jose";
import { ClaimcheckError } from "../shared/errors.ts";

/** A principal, known. No path to plaintext goes without one. */
export interface Caller {
  readonly tenant: string;
  /** The token's `sub`. */
  readonly principal: string;
  readonly accessToken: string;
}

/** An issuer whose tokens make somebody a principal of one tenant. */
export interface Issuer {
  readonly issuer: string;
  readonly keys: jose.JWTVerifyGetKey;
  readonly tenant: string;
}

export type Authenticate = (authorization: string | undefined) => Promise<Caller>;

/** @param audience what a token's `aud` has to name: this broker. */
export function createAuthenticator(issuers: readonly Issuer[], audience: string): Authenticate {
  const byName = new Map(issuers.map((issuer) => [issuer.issuer, issuer]));

  return async (authorization) => {
    const accessToken = /^(?:Bearer|DPoP) +(\S+)$/i.exec(authorization ?? "")?.[1];
    if (!accessToken) throw new ClaimcheckError("unauthenticated", { reason: "token_missing" });
    try {
      const issuer = byName.get(jose.decodeJwt(accessToken).iss ?? "");
      if (!issuer) throw new ClaimcheckError("unauthenticated", { reason: "issuer_unknown" });
      const { payload } = await jose.jwtVerify(accessToken, issuer.keys, {
        issuer: issuer.issuer,
        audience,
        algorithms: ["EdDSA", "ES256", "RS256"],
        requiredClaims: ["sub", "exp"],
      });
      return { tenant: issuer.tenant, principal: payload.sub as string, accessToken };
    } catch (cause) {
      if (cause instanceof ClaimcheckError) throw cause;
      throw new ClaimcheckError("unauthenticated", { reason: "token_invalid", cause });
    }
  };
}

/**
 * An issuer that exists only in this process: its key is made here and dies with it. What embedded use and
 * `broker --dev` have instead of a CI system's.
 */
export async function throwawayIssuer(tenant: string) {
  const issuer = `urn:claimcheck:throwaway:${tenant}`;
  const { publicKey, privateKey } = await jose.generateKeyPair("EdDSA");
  return {
    issuer: { issuer, tenant, keys: async () => publicKey } satisfies Issuer,

    /** @param lifetime in seconds. */
    token: (subject: string, audience: string, lifetime: number): Promise<string> =>
      new jose.SignJWT()
        .setProtectedHeader({ alg: "EdDSA" })
        .setIssuer(issuer)
        .setSubject(subject)
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime(Math.floor(Date.now() / 1000) + lifetime)
        .sign(privateKey),
  };
}
