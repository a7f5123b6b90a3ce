/**
 * A value on its way to the broker: a compact JWE (RFC 7516: ECDH-ES, A256GCM) to the key in the broker's JWKS
 * whose `use` is `enc`. Its protected header says what the handle is to be, beside what RFC 7516 asks for:
 *
 *     iss       the broker's URL
 *     ath       base64url SHA-256 of the access token of the request
 *     audience  the item's, where it has one
 *     jkt       the item's, where it has one
 *     source    of a requester's token for a source, which travels in the same way: the source's name
 *
 * So a proxy that ends TLS cannot read the value, and cannot have it wrapped in another name, for another
 * executor or for a key of its own either.
 */
import { createHash } from "node:crypto";
import * as jose from "jose";
import { ClaimcheckError } from "./errors.ts";
import { Secret } from "./secret.ts";
import type { Jwks } from "./wire.ts";

const typ = "claimcheck-value";

/** What a wrapped value is for; the broker expects exactly what is asked of it. */
export interface WrappingContext {
  readonly iss: string;
  readonly accessToken: string;
  readonly audience?: string | undefined;
  readonly jkt?: string | undefined;
  /** The one source that a token is for; of no value that becomes a handle. */
  readonly source?: string | undefined;
}

export async function wrapValue(
  value: Secret,
  context: WrappingContext,
  key: Jwks["keys"][number],
): Promise<string> {
  return new jose.CompactEncrypt(value.expose())
    .setProtectedHeader({ alg: "ECDH-ES", enc: "A256GCM", typ, kid: key.kid, ...bound(context) })
    .encrypt(await jose.importJWK(key, "ECDH-ES"));
}

/** @throws {ClaimcheckError} `invalid_value`; why is in `reason`. */
export async function unwrapValue(
  jwe: string,
  context: WrappingContext,
  findKey: (kid: string | undefined) => jose.CryptoKey | undefined,
): Promise<Secret> {
  const { plaintext, protectedHeader } = await decrypt(jwe, findKey);
  const value = new Secret(plaintext);
  const expected: Record<string, unknown> = { typ, ...bound(context) };
  const wrong = ["typ", "iss", "ath", "audience", "jkt", "source"].find(
    (name) => protectedHeader[name] !== expected[name],
  );
  if (wrong === undefined) return value;
  value.wipe();
  throw invalidValue(`value_${wrong}_mismatch`);
}

async function decrypt(jwe: string, findKey: (kid: string | undefined) => jose.CryptoKey | undefined) {
  const find = ({ kid }: jose.CompactJWEHeaderParameters): jose.CryptoKey => {
    const key = findKey(kid);
    if (!key) throw invalidValue("value_for_another_key");
    return key;
  };
  try {
    return await jose.compactDecrypt(jwe, find, {
      keyManagementAlgorithms: ["ECDH-ES"],
      contentEncryptionAlgorithms: ["A256GCM"],
    });
  } catch (cause) {
    throw cause instanceof ClaimcheckError ? cause : invalidValue("value_malformed", cause);
  }
}

function bound({ iss, accessToken, audience, jkt, source }: WrappingContext) {
  return {
    iss,
    ath: createHash("sha256").update(accessToken).digest("base64url"),
    ...(audience !== undefined && { audience }),
    ...(jkt !== undefined && { jkt }),
    ...(source !== undefined && { source }),
  };
}

const invalidValue = (reason: string, cause?: unknown) =>
  new ClaimcheckError("invalid_value", { reason, cause });
