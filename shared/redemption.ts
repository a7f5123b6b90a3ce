/**
 * What a redemption answers: the values of a whole batch, signed by the broker, then encrypted to the
 * executor (RFC 7516 compact: ECDH-ES, A256GCM). The encrypted bytes are
 *
 *     manifest "\n" value value …
 *
 * where the manifest is a compact JWS (EdDSA) over JSON that says whose answer to what this is and gives each
 * value's handle, digest, length and SHA-256. So the values are never text, and no one but the broker can
 * have put them together. The manifest also has the heads of the audit log that the release is recorded in, so that
 * whoever got the values can tell later whether the log still has it.
 */
import { createHash, createPublicKey } from "node:crypto";
import * as z from "zod/mini";
import { decryptWith, encryptTo, type PrivateKey, type Recipient } from "./ecdh-es.ts";
import { ClaimcheckError } from "./errors.ts";
import { Secret } from "./secret.ts";
import type { FindKey, SigningKey } from "./statement.ts";
import { readStatement, signStatement } from "./statement.ts";
import type { EncryptionKey } from "./wire.ts";

const typ = "claimcheck-redemption";
const newline = 0x0a;

const Manifest = z.object({
  iss: z.string(),
  tenant: z.string(),
  /** The redemption id of the request, and the `jti` of its proof. */
  redemption: z.string(),
  proof: z.string(),
  /** One for each place that the log is kept in. */
  heads: z.array(z.string()),
  values: z.array(z.object({ jti: z.string(), digest: z.string(), length: z.int(), sha256: z.string() })),
});

type Manifest = z.infer<typeof Manifest>;

/** What an answer is about; the executor expects exactly what it asked. */
export type RedemptionContext = Pick<Manifest, "iss" | "tenant" | "redemption" | "proof">;

export interface OpenedRedemption {
  /** In the order of the manifest. */
  readonly values: RedeemedValue[];
  readonly heads: readonly string[];
}

export interface RedeemedValue {
  jti: string;
  digest: string;
  value: Secret;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64url");

/** @throws {ClaimcheckError} `invalid_request` for a key that is no point on its curve. */
export async function importRecipient(key: EncryptionKey): Promise<Recipient> {
  try {
    return createPublicKey({ key, format: "jwk" });
  } catch (cause) {
    throw new ClaimcheckError("invalid_request", { detail: "wrong or missing: key", cause });
  }
}

export async function sealRedemption(
  context: RedemptionContext,
  { values, heads }: { readonly values: readonly RedeemedValue[]; readonly heads: readonly string[] },
  signingKey: SigningKey,
  recipient: Recipient,
): Promise<string> {
  const manifest: Manifest = {
    ...context,
    heads: [...heads],
    values: values.map(({ jti, digest, value }) => {
      const bytes = value.expose();
      return { jti, digest, length: bytes.length, sha256: sha256(bytes) };
    }),
  };
  const jws = await signStatement(typ, manifest, signingKey);
  const plaintext = Buffer.concat([Buffer.from(`${jws}\n`), ...values.map(({ value }) => value.expose())]);
  try {
    return encryptTo(recipient, plaintext, typ);
  } finally {
    plaintext.fill(0);
  }
}

/**
 * Decrypts an answer and checks that the broker signed it, that it answers this request, and that each value is
 * the one the manifest names.
 *
 * @returns also the values, of which the caller compares `jti` and `digest` with its handles'.
 * @throws when anything about the answer is not as it has to be; nothing of it is to be used then.
 */
export async function openRedemption(
  payload: string,
  privateKey: PrivateKey,
  findKey: FindKey,
  expected: RedemptionContext,
): Promise<OpenedRedemption> {
  let plaintext: Uint8Array | undefined;
  try {
    plaintext = await decryptWith(privateKey, payload);
    const end = plaintext.indexOf(newline);
    const jws = Buffer.from(plaintext.subarray(0, end)).toString("latin1");
    const manifest = Manifest.parse(await readStatement(typ, jws, findKey));
    for (const [claim, value] of Object.entries(expected)) {
      if (manifest[claim as keyof RedemptionContext] !== value) throw new Error(`another ${claim}`);
    }
    return { values: cutValues(plaintext.subarray(end + 1), manifest), heads: manifest.heads };
  } finally {
    plaintext?.fill(0);
  }
}

function cutValues(bytes: Uint8Array, manifest: Manifest): RedeemedValue[] {
  let at = 0;
  const values = manifest.values.map(({ jti, digest, length, sha256: expected }) => {
    const value = bytes.slice(at, at + length);
    at += length;
    if (value.length !== length || sha256(value) !== expected) throw new Error("another value");
    return { jti, digest, value: new Secret(value) };
  });
  if (at !== bytes.length) throw new Error("more than the manifest names");
  return values;
}
