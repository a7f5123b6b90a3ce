/**
 * What a check of handles answers: a compact JWS (EdDSA) over the claims below. It is signed, or a proxy that ends
 * TLS could say yes in the broker's place.
 */
import * as z from "zod/mini";
import type { FindKey, SigningKey } from "./handle.ts";
import { readStatement, signStatement } from "./statement.ts";

const typ = "claimcheck-confirmation";

const Confirmation = z.object({
  iss: z.string(),
  tenant: z.string(),
  /** The `jti` of the request's proof. */
  proof: z.string(),
  /** The `jti` of every handle, in the order of the request. */
  handles: z.array(z.string()),
});

export type Confirmation = z.infer<typeof Confirmation>;

export async function signConfirmation(confirmation: Confirmation, key: SigningKey): Promise<string> {
  return signStatement(typ, confirmation, key);
}

/**
 * @returns the tenant of whoever asked.
 * @throws when it is not the broker's, or confirms anything but what is expected.
 */
export async function verifyConfirmation(
  confirmation: string,
  findKey: FindKey,
  expected: Omit<Confirmation, "tenant">,
): Promise<string> {
  const said = Confirmation.parse(await readStatement(typ, confirmation, findKey));
  for (const claim of ["iss", "proof"] as const) {
    if (said[claim] !== expected[claim]) throw new Error(`another ${claim}`);
  }
  if (said.handles.join("\n") !== expected.handles.join("\n")) throw new Error("other handles");
  return said.tenant;
}
