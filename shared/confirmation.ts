/**
 * What a check of handles answers: a compact JWS (EdDSA) over the claims below, encrypted to the executor (RFC 7516
 * compact: ECDH-ES, A256GCM). It is signed, or a proxy that ends TLS could say yes in the broker's place; and encrypted,
 * because who sees two cache ids sees whether two secrets are equal.
 */
import * as z from "zod/mini";
import { decryptWith, encryptTo, type PrivateKey, type Recipient } from "./ecdh-es.ts";
import type { FindKey, SigningKey } from "./statement.ts";
import { readStatement, signStatement } from "./statement.ts";

const typ = "claimcheck-confirmation";

const Confirmation = z.object({
  iss: z.string(),
  tenant: z.string(),
  /** The `jti` of the request's proof. */
  proof: z.string(),
  /** Every handle, in the order of the request. */
  handles: z.array(
    z.object({
      jti: z.string(),
      /** What stands for the secret in the exec cache; missing where a rule says `cache: never`. */
      cacheId: z.optional(z.string()),
    }),
  ),
});

export type Confirmation = z.infer<typeof Confirmation>;

export async function sealConfirmation(
  confirmation: Confirmation,
  key: SigningKey,
  recipient: Recipient,
): Promise<string> {
  return encryptTo(recipient, Buffer.from(await signStatement(typ, confirmation, key)), typ);
}

/**
 * @param expected `handles` by their `jti`s.
 * @throws when it is not the broker's, or confirms anything but what is expected.
 */
export async function openConfirmation(
  confirmation: string,
  privateKey: PrivateKey,
  findKey: FindKey,
  expected: { readonly iss: string; readonly proof: string; readonly handles: readonly string[] },
): Promise<Confirmation> {
  const jws = Buffer.from(await decryptWith(privateKey, confirmation)).toString("latin1");
  const said = Confirmation.parse(await readStatement(typ, jws, findKey));
  for (const claim of ["iss", "proof"] as const) {
    if (said[claim] !== expected[claim]) throw new Error(`another ${claim}`);
  }
  const jtis = said.handles.map(({ jti }) => jti);
  if (jtis.join("\n") !== expected.handles.join("\n")) throw new Error("other handles");
  return said;
}
