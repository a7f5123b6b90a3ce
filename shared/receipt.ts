/**
 * A receipt: the broker's word that a result in a shared cache comes from an executor that had redeemed the secrets it
 * was made with. A compact JWS (EdDSA) over the claims below. Whoever keeps the result may be anybody.
 */
import * as z from "zod/mini";
import type { FindKey, SigningKey } from "./handle.ts";
import { readStatement, signStatement } from "./statement.ts";

const typ = "claimcheck-receipt";

const Receipt = z.object({
  iss: z.string(),
  tenant: z.string(),
  /** The result's key, as executors make them; the broker does not know of what. */
  key: z.string(),
  /** Digest of the manifest that names the result's parts: `sha256:` and hex. */
  manifest: z.string(),
  /** The cache ids of the secrets that were redeemed, sorted, each once. */
  secrets: z.array(z.string()),
  /** When it was given, in seconds since 1970. */
  iat: z.int(),
});

export type Receipt = z.infer<typeof Receipt>;

export const sortIds = (ids: Iterable<string>): string[] => [...new Set(ids)].sort();

export async function signReceipt(receipt: Receipt, key: SigningKey): Promise<string> {
  return signStatement(typ, receipt, key);
}

/**
 * @returns the digest of the manifest that it is about.
 * @throws when it is not the broker's, or for another result.
 */
export async function verifyReceipt(
  receipt: string,
  findKey: FindKey,
  expected: Omit<Receipt, "manifest" | "iat">,
): Promise<string> {
  const said = Receipt.parse(await readStatement(typ, receipt, findKey));
  for (const claim of ["iss", "tenant", "key"] as const) {
    if (said[claim] !== expected[claim]) throw new Error(`another ${claim}`);
  }
  if (said.secrets.join("\n") !== sortIds(expected.secrets).join("\n")) throw new Error("other secrets");
  return said.manifest;
}
