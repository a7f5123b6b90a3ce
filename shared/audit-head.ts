/**
 * The head of an audit log: everything up to one of its lines, signed. Whoever holds one can tell later whether the
 * log still has what it had then. A compact JWS (RFC 7515) by the audit key of a broker, EdDSA:
 *
 *     {"alg":"EdDSA","typ":"claimcheck-audit-head","kid":…}.{"chain":…,"seq":…,"hash":…,"iat":…}.signature
 *
 * `chain` is the id of the chain, `seq` and `hash` the number and the hash of the last line that it is about, `iat`
 * when it was signed, in seconds since 1970 with a fraction. Heads that a broker gives away have no `seq`: from two of
 * them anybody could tell how much all tenants do. A head that is in the log says the `version` of the log's format that
 * its lines are in, where that is above 1; this name keeps its meaning in every later version.
 */

import * as jose from "jose";
import * as z from "zod/mini";
import { peekPayload } from "./jws-peek.ts";
import type { FindKey, SigningKey } from "./statement.ts";
import { readStatement, signStatement } from "./statement.ts";
import type { Jwks } from "./wire.ts";

const typ = "claimcheck-audit-head";

const AuditHead = z.strictObject({
  chain: z.uuid(),
  seq: z.optional(z.int().check(z.nonnegative())),
  hash: z.string(),
  iat: z.number(),
  version: z.optional(z.int().check(z.gt(1))),
});

export type AuditHead = z.infer<typeof AuditHead>;

/** The keys of a broker that sign heads. Those that sign handles cannot, nor can these sign handles. */
export function findAuditKeys({ keys }: Jwks): FindKey {
  // To jose, a key with another use than "sig" signs nothing.
  const signing = keys.filter(({ use }) => use === "audit").map(({ use, ...key }) => key);
  return jose.createLocalJWKSet({ keys: signing });
}

export async function signAuditHead(head: AuditHead, key: SigningKey): Promise<string> {
  return signStatement(typ, head, key);
}

/** @throws when it is none, or signed by none of these keys. */
export async function readAuditHead(head: string, findKey: FindKey): Promise<AuditHead> {
  // The last character of a part may hold bits that stand for nothing, and would be taken whatever they are.
  const parts = head.split(".").map((part) => Buffer.from(part, "base64url").toString("base64url"));
  if (parts.join(".") !== head) throw new Error("not the head of an audit log in its one form");
  return AuditHead.parse(await readStatement(typ, head, findKey));
}

/** What a head says, whoever signed it. @throws when it is none. */
export function peekAuditHead(head: string): AuditHead {
  return AuditHead.parse(peekPayload(head));
}

/** The key that it says it is signed by, where that has the form of a thumbprint. */
export function keyIdOf(head: string): string | undefined {
  try {
    const { kid } = jose.decodeProtectedHeader(head);
    return typeof kid === "string" && /^[A-Za-z0-9_-]{43}$/.test(kid) ? kid : undefined;
  } catch {
    return undefined;
  }
}
