/**
 * A receipt: the broker's word that a result in a shared cache comes from an executor that had redeemed the secrets it
 * was made with. A compact JWS (EdDSA) over the claims below. Whoever keeps the result may be anybody: of the secrets it
 * has a MAC under their cache ids, which only an executor knows that has handles for the same secrets, and which is another
 * one for each result.
 */
import { createHmac } from "node:crypto";
import * as z from "zod/mini";
import type { FindKey, SigningKey } from "./statement.ts";
import { readStatement, signStatement } from "./statement.ts";

const typ = "claimcheck-receipt";

const Receipt = z.object({
  iss: z.string(),
  tenant: z.string(),
  /** The result's key, as executors make them; the broker does not know of what. */
  key: z.string(),
  /** Digest of the manifest that names the result's parts: `sha256:` and hex. */
  manifest: z.string(),
  /**
   * base64url HMAC-SHA-256 over the JSON array of `iss`, `tenant`, `key` and `manifest`. The key is the cache ids of the
   * secrets that were redeemed, sorted, each once, with line feeds between them.
   */
  mac: z.string(),
  /** When it was given, in seconds since 1970. */
  iat: z.int(),
});

export class OutdatedReceipt extends Error {
  override readonly name = "OutdatedReceipt";
}

/** It had the cache ids themselves. */
const Outdated = z.object({ secrets: z.array(z.string()) });

/** What a receipt is about, and the cache ids of the secrets that were redeemed for it. */
type Attested = Omit<z.infer<typeof Receipt>, "mac" | "iat"> & { readonly secrets: readonly string[] };

function macOf({ iss, tenant, key, manifest, secrets }: Attested): string {
  const ids = [...new Set(secrets)].sort().join("\n");
  return createHmac("sha256", ids)
    .update(JSON.stringify([iss, tenant, key, manifest]))
    .digest("base64url");
}

/** @param iat when it is given, in seconds since 1970. */
export async function signReceipt(attested: Attested, iat: number, signingKey: SigningKey): Promise<string> {
  const { secrets, ...about } = attested;
  const receipt: z.infer<typeof Receipt> = { ...about, mac: macOf(attested), iat };
  return signStatement(typ, receipt, signingKey);
}

/**
 * @returns the digest of the manifest that it is about.
 * @throws {OutdatedReceipt} for the form of a version before this one.
 * @throws when it is not the broker's, or for another result.
 */
export async function verifyReceipt(
  receipt: string,
  findKey: FindKey,
  expected: Omit<Attested, "manifest">,
): Promise<string> {
  const read = await readStatement(typ, receipt, findKey);
  if (Outdated.safeParse(read).success) throw new OutdatedReceipt("an older version made it");
  const said = Receipt.parse(read);
  for (const claim of ["iss", "tenant", "key"] as const) {
    if (said[claim] !== expected[claim]) throw new Error(`another ${claim}`);
  }
  if (said.mac !== macOf({ ...expected, manifest: said.manifest })) throw new Error("other secrets");
  return said.manifest;
}
