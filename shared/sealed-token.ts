/**
 * A token on its way to the broker, where its issuer cannot tie it to a key: a compact JWE (RFC 7516: ECDH-ES, A256GCM) to
 * the key in the broker's JWKS whose `use` is `enc`. Its protected header says, beside what RFC 7516 asks for:
 *
 *     typ  claimcheck-token
 *     iss  the broker's URL
 *     jkt  RFC 7638 thumbprint of the key that proves every request with it
 *
 * It is sent in the token's place, and `ath` is about it as sent. So a proxy never sees the token, and what it sees is good
 * for nothing without the key.
 */
import * as jose from "jose";
import { ClaimcheckError } from "./errors.ts";
import type { Jwks } from "./wire.ts";

const typ = "claimcheck-token";

/** Whether it has the parts of a JWE. */
export const isSealed = (token: string): boolean => token.split(".").length === 5;

export async function sealToken(
  token: string,
  { iss, jkt }: { readonly iss: string; readonly jkt: string },
  key: Jwks["keys"][number],
): Promise<string> {
  return new jose.CompactEncrypt(Buffer.from(token))
    .setProtectedHeader({ alg: "ECDH-ES", enc: "A256GCM", typ, kid: key.kid, iss, jkt })
    .encrypt(await jose.importJWK(key, "ECDH-ES"));
}

/** @throws {ClaimcheckError} `unauthenticated`; why is in `reason`. */
export async function openToken(
  sealed: string,
  iss: string,
  findKey: (kid: string | undefined) => jose.CryptoKey | undefined,
): Promise<{ readonly token: string; readonly jkt: string }> {
  try {
    const find = ({ kid }: jose.CompactJWEHeaderParameters): jose.CryptoKey => {
      const key = findKey(kid);
      if (!key) throw new Error("it is sealed to another key");
      return key;
    };
    const { plaintext, protectedHeader } = await jose.compactDecrypt(sealed, find, {
      keyManagementAlgorithms: ["ECDH-ES"],
      contentEncryptionAlgorithms: ["A256GCM"],
    });
    const { jkt } = protectedHeader;
    if (protectedHeader.typ !== typ || protectedHeader.iss !== iss)
      throw new Error("it is for something else");
    if (typeof jkt !== "string" || !/^[A-Za-z0-9_-]{43}$/.test(jkt)) throw new Error("it names no key");
    return { token: Buffer.from(plaintext).toString(), jkt };
  } catch (cause) {
    throw new ClaimcheckError("unauthenticated", { reason: "token_unsealable", cause });
  }
}
