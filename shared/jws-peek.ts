/**
 * What a compact JWS says, before anybody has checked who signed it: good for a name or a hint, never for a decision.
 *
 * @throws for what is none.
 */
export function peekPayload(jws: string): Record<string, unknown> {
  const [, payload = ""] = jws.split(".");
  const said: unknown = JSON.parse(Buffer.from(payload, "base64url").toString());
  if (typeof said !== "object" || said === null) throw new Error("no object is in it");
  return said as Record<string, unknown>;
}
