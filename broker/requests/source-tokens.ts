/**
 * The tokens that a requester sends for sources that log in with them. Each is the requester's own, and made for the
 * upstream: it names the same issuer and subject as the access token, so that what the upstream allows is allowed to whom
 * the records name; and it shares no audience with it, so that the upstream cannot come here with it. Who signed it, the
 * upstream checks.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { peekPayload } from "../../shared/jws-peek.ts";
import { unwrapValue } from "../../shared/wrapping.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import type { Requester } from "../resolve/source.ts";

const form = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** @throws {ClaimcheckError} `invalid_value`. */
export async function openSourceTokens(
  { keys, url }: Broker,
  caller: Caller,
  sealed: Readonly<Record<string, string>> = {},
): Promise<Requester> {
  const { accessToken, principal } = caller;
  const tokens = await Promise.all(
    Object.entries(sealed).map(async ([source, jwe]) => {
      const refuse = (why: string, cause?: unknown) =>
        new ClaimcheckError("invalid_value", { detail: `the token for the source ${source}${why}`, cause });
      const opened = await unwrapValue(jwe, { iss: url, accessToken, source }, keys.findDecryptionKey).catch(
        (thrown: unknown) => {
          throw refuse(" is not encrypted for this request", thrown);
        },
      );
      const token = Buffer.from(opened.expose()).toString().trim();
      opened.wipe();
      const fault = faultOf(token, caller, url);
      if (fault) throw refuse(fault);
      return [source, token] as const;
    }),
  );
  return { principal, tokens: new Map(tokens) };
}

function faultOf(token: string, { claims }: Caller, url: string): string | undefined {
  let said: Record<string, unknown>;
  try {
    if (!form.test(token)) return " is no JWT";
    said = peekPayload(token);
  } catch {
    return " is no JWT";
  }
  const { iss, sub, aud, exp } = said;
  if (iss !== claims.iss || sub !== claims.sub)
    return " names another issuer or subject than your access token";
  const own = [claims.aud].flat();
  const isForBroker = (each: unknown) =>
    own.includes(each) || each === url || `${each}`.startsWith(`${url}#`);
  if (aud === undefined || [aud].flat().some(isForBroker)) {
    return " must be for the upstream alone: request one with the upstream's audience";
  }
  return typeof exp === "number" && exp * 1000 > Date.now()
    ? undefined
    : " has expired, or says no time at which it does";
}
