/**
 * What a broker says and signs: a compact JWS (RFC 7515, EdDSA) over JSON. Its `typ` says what it is, so that nothing that
 * was signed is taken for anything else.
 */
import * as jose from "jose";
import { expectKnownStatement } from "./newer.ts";

/** A key that signs for the broker, and the `kid` under which its JWKS has the public half. */
export interface SigningKey {
  kid: string;
  privateKey: jose.CryptoKey;
}

/** Finds the public key for a `kid`; from the broker's own keys, or from those an executor has pinned. */
export type FindKey = jose.JWTVerifyGetKey;

export async function signStatement(
  typ: string,
  said: object,
  { kid, privateKey }: SigningKey,
): Promise<string> {
  return new jose.CompactSign(Buffer.from(JSON.stringify(said)))
    .setProtectedHeader({ alg: "EdDSA", typ, kid })
    .sign(privateKey);
}

/**
 * @returns what it says, for a schema to judge.
 * @throws {NewerStatement} for the form of a later version.
 * @throws when none of the keys signed it, or as something else.
 */
export async function readStatement(typ: string, statement: string, findKey: FindKey): Promise<unknown> {
  const { payload, protectedHeader } = await jose.compactVerify(statement, findKey, {
    algorithms: ["EdDSA"],
  });
  expectKnownStatement(protectedHeader);
  if (protectedHeader.typ !== typ) throw new Error(`not a ${typ.replace("claimcheck-", "")}`);
  return JSON.parse(Buffer.from(payload).toString());
}
