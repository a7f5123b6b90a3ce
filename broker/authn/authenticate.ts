/** Who is asking: the bearer token of a request, checked against the issuers that this broker trusts. */
import { createHash } from "node:crypto";
import * as jose from "jose";
import type { Role } from "../../shared/actions.ts";
import { boundAudience, keyOf } from "../../shared/bound-token.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { isSealed } from "../../shared/sealed-token.ts";
import type { Caller } from "./caller.ts";
import { type Claims, compileWho, holdsAlone, readClaims, type Who } from "./claims.ts";
import { type Confinement, confinements, roles } from "./roles.ts";

/** Tokens whose claims are such belong to this tenant. */
export interface Membership {
  readonly tenant: string;
  readonly who: Who;
  readonly roles: readonly Role[];
  readonly proofKeys?: readonly string[];
  /** Its tokens have to name a key; it redeems what it asked for itself, by that key. */
  readonly confined?: Confinement;
  /** Makes a token alone worth a secret: for an issuer in this very process, or where the policy says `dangerouslyTokenAlone`. */
  readonly anyProofKey?: boolean;
}

/** An issuer whose tokens make somebody a principal of a tenant. */
export interface Issuer {
  /** The tokens' `iss`. */
  readonly issuer: string;
  /** @throws {ClaimcheckError} `issuer_unavailable` where they cannot be had. */
  readonly keys: jose.JWTVerifyGetKey;
  /** Changes when its keys do; missing where they never do. */
  readonly keysVersion?: () => Promise<number>;
  readonly algorithms: readonly string[];
  /** What a token's `aud` has to name, where it is not the broker's URL. */
  readonly audience?: string;
  /** How far its clock may be from ours, in seconds. */
  readonly skew: number;
  /** What its principals' names begin with, so that no two issuers can name the same one. */
  readonly prefix: string;
  /** A token fits those of one tenant at most: loading a policy file sees to that. */
  readonly members: readonly Membership[];
}

/** Opens a token that was sealed to this broker, and says which key the client named; shared/sealed-token.ts says how. */
export type Unseal = (sent: string) => Promise<{ readonly token: string; readonly jkt: string }>;

export type Authenticate = (authorization: string | undefined, unseal?: Unseal) => Promise<Caller>;

/** Verified tokens that are remembered at most, and their length together; the oldest go first. */
const remembered = 10_000;
const rememberedLength = 16 * 1024 * 1024;

type Known = Omit<Caller, "accessToken" | "proven" | "vouched">;

type ReadyIssuer = ReturnType<typeof prepare>;

/** An issuer whose members' claims are ready to be compared. */
export function prepare(issuer: Issuer) {
  return {
    ...issuer,
    members: issuer.members.map((member) => ({ ...member, conditions: compileWho(member.who) })),
  };
}

/** @param audience what a token's `aud` has to name: this broker. */
export function createAuthenticator(issuers: readonly Issuer[], audience: string): Authenticate {
  const byName = new Map(issuers.map((issuer) => [issuer.issuer, prepare(issuer)]));
  // By the hash of what was sent: a dump of this process's memory is no list of tokens. Sealed ones are opened once.
  const verified = new Map<string, Verified & { readonly length: number }>();
  let length = 0;
  const forget = (hash: string) => {
    length -= verified.get(hash)?.length ?? 0;
    verified.delete(hash);
  };

  return async (authorization, unseal) => {
    const accessToken = /^(?:Bearer|DPoP) +(\S+)$/i.exec(authorization ?? "")?.[1];
    if (!accessToken) throw new ClaimcheckError("unauthenticated", { reason: "token_missing" });
    const hash = createHash("sha256").update(accessToken).digest("base64");
    const before = verified.get(hash);
    if (before && (await isGood(before))) return confine({ ...before.known, accessToken }, before.sealedTo);
    forget(hash);

    const sealed = unseal && isSealed(accessToken) ? await unseal(accessToken) : undefined;
    const token = sealed?.token ?? accessToken;
    const { iss = "", exp = 0 } = peek(token);
    const issuer = byName.get(iss);
    if (!issuer) throw new ClaimcheckError("unauthenticated", { reason: "issuer_unknown" });
    // Whoever signed it, and whether or not its key can be found: what says that it is over is over.
    if (exp > 0 && exp + issuer.skew <= Date.now() / 1000) {
      throw new ClaimcheckError("unauthenticated", { reason: "token_expired" });
    }
    const keysVersion = await issuer.keysVersion?.();
    const claims = await verify(token, issuer, audience);
    const boundKey = keyOfToken(claims, issuer.audience ?? audience);
    const known = { ...recognise(claims, issuer), ...(boundKey !== undefined && { boundKey }) };
    for (const oldest of verified.keys()) {
      if (verified.size < remembered && length + accessToken.length <= rememberedLength) break;
      forget(oldest);
    }
    // Another request may have brought it meanwhile.
    forget(hash);
    const until = claims.exp + issuer.skew;
    const sealedTo = sealed?.jkt;
    verified.set(hash, { known, until, issuer, keysVersion, sealedTo, length: accessToken.length });
    length += accessToken.length;
    // Proofs are about the token as it was sent.
    return confine({ ...known, accessToken }, sealedTo);
  };
}

/** @throws {ClaimcheckError} `token_not_confined`, or `unauthenticated` where issuer and client name two keys. */
function confine(caller: Caller, sealedTo: string | undefined): Caller {
  const { confined, boundKey = sealedTo } = caller;
  if (sealedTo !== undefined && sealedTo !== boundKey) {
    throw new ClaimcheckError("unauthenticated", { reason: "token_invalid" });
  }
  const vouched = caller.boundKey !== undefined || (boundKey !== undefined && confined === "sealed");
  if (confined && !vouched) throw new ClaimcheckError("token_not_confined");
  return boundKey === undefined ? caller : { ...caller, boundKey, vouched };
}

/** A token that was verified, and by what. */
interface Verified {
  readonly known: Known;
  readonly until: number;
  readonly issuer: ReadyIssuer;
  readonly keysVersion: number | undefined;
  /** The key that the client named when it sealed the token to this broker. */
  readonly sealedTo: string | undefined;
}

/** Once the issuer has other keys, the one that signed the token may be withdrawn. */
const isGood = async ({ until, issuer, keysVersion }: Verified): Promise<boolean> =>
  until > Date.now() / 1000 && (await issuer.keysVersion?.()) === keysVersion;

/** What else an issuer signs is no token for a broker: logout tokens, proofs, security events, handles (RFC 8725, 3.11). */
const tokenTypes = /^(application\/)?(jwt|at\+jwt)$/i;

/** What a token says, before anybody knows who signed it. */
function peek(token: string): jose.JWTPayload {
  try {
    return jose.decodeJwt(token);
  } catch (cause) {
    throw new ClaimcheckError("unauthenticated", { reason: "token_invalid", cause });
  }
}

function keyOfToken(claims: Claims, audience: string): string | undefined {
  try {
    return keyOf(claims, audience);
  } catch (cause) {
    throw new ClaimcheckError("unauthenticated", { reason: "token_invalid", cause });
  }
}

async function verify(token: string, issuer: Issuer, audience: string) {
  const own = issuer.audience ?? audience;
  const named = keyOfToken(peek(token) as Claims, own);
  try {
    const { payload, protectedHeader } = await jose.jwtVerify<{ exp: number }>(token, issuer.keys, {
      issuer: issuer.issuer,
      // What is read here before the signature is checked is what the signature is over.
      audience: named === undefined ? own : [own, boundAudience(own, named)],
      algorithms: [...issuer.algorithms],
      clockTolerance: issuer.skew,
      requiredClaims: ["sub", "exp"],
    });
    const { typ } = protectedHeader;
    if (typ !== undefined && !tokenTypes.test(typ)) throw new Error("it is not an access or id token");
    // Once more, because jose has rounded every number that a double cannot hold.
    const [, text = ""] = token.split(".");
    return { ...readClaims(Buffer.from(text, "base64url").toString()), exp: payload.exp };
  } catch (cause) {
    if (cause instanceof ClaimcheckError) throw cause;
    const reason = cause instanceof jose.errors.JWTExpired ? "token_expired" : "token_invalid";
    throw new ClaimcheckError("unauthenticated", { reason, cause });
  }
}

/** What a `sub` has to be, because it becomes the name in every record. */
export const subjectForm = "a text of at most 1024 characters, none of them a control character";
const isSubject = (sub: unknown): sub is string =>
  typeof sub === "string" && sub !== "" && sub.length <= 1024 && sub.isWellFormed() && !/\p{Cc}/u.test(sub);

/** @throws {ClaimcheckError} `unauthenticated` for claims that fit no tenant, or name nobody. */
export function recognise(claims: Claims, { prefix, members }: ReadyIssuer): Known {
  const { sub } = claims;
  if (!isSubject(sub)) throw new ClaimcheckError("unauthenticated", { reason: "subject_invalid" });
  const fitting = members.filter(({ conditions }) =>
    conditions.every((condition) => holdsAlone(condition, claims)),
  );
  const [first] = fitting;
  if (!first) throw new ClaimcheckError("unauthenticated", { reason: "principal_unknown" });
  return {
    tenant: first.tenant,
    principal: `${prefix}${sub}`,
    claims,
    roles: [...new Set(fitting.flatMap((member) => member.roles))],
    proofKeys: fitting.flatMap(({ proofKeys = [] }) => proofKeys),
    anyProofKey: fitting.some((member) => member.anyProofKey),
    ...strictest(fitting.flatMap(({ confined }) => confined ?? [])),
  };
}

const strictest = (found: readonly Confinement[]): Pick<Caller, "confined"> => {
  const confined = confinements.find((each) => found.includes(each));
  return confined ? { confined } : {};
};

/**
 * An issuer that exists only in this process: its key is made here and dies with it. What embedded use and
 * `broker --dev` have instead of a CI system's.
 */
export async function throwawayIssuer(tenant: string) {
  const issuer = `urn:claimcheck:throwaway:${tenant}`;
  const { publicKey, privateKey } = await jose.generateKeyPair("EdDSA");
  return {
    issuer: {
      issuer,
      keys: async () => publicKey,
      algorithms: ["EdDSA"],
      skew: 0,
      prefix: "",
      members: [{ tenant, who: {}, roles: Object.keys(roles) as Role[], anyProofKey: true }],
    } satisfies Issuer,

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
