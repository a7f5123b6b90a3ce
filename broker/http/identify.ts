/** Who is asking, where the token may be sealed to this broker: shared/sealed-token.ts says how. */
import { isSealed, openToken } from "../../shared/sealed-token.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";

export async function identify(
  { authenticate, keys, url }: Broker,
  authorization: string | undefined,
): Promise<Caller> {
  const [scheme = "", sent = ""] = (authorization ?? "").split(/ +/);
  if (!isSealed(sent)) return authenticate(authorization);
  const { token, jkt } = await openToken(sent, url, keys.findDecryptionKey);
  // Proofs are about the token as it was sent.
  return { ...(await authenticate(`${scheme} ${token}`, jkt)), accessToken: sent };
}
