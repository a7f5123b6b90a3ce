/** Tokens of a requester for sources that are read with them: encrypted to the broker, each for one request. */
import { Secret } from "../../shared/secret.ts";
import { wrapValue } from "../../shared/wrapping.ts";
import type { BrokerKeys } from "./keys.ts";

/** By source. Read again for each request, because Kubernetes replaces a token's file before the token expires. */
export type FindSourceTokens = () => Promise<ReadonlyMap<string, string>>;

/** @returns what a request for handles says of them: nothing where there are none. */
export async function sealSourceTokens(
  find: FindSourceTokens | undefined,
  context: { readonly iss: string; readonly accessToken: string },
  { wrappingKey }: Pick<BrokerKeys, "wrappingKey">,
): Promise<{ sourceTokens?: Record<string, string> }> {
  const tokens = (await find?.()) ?? new Map<string, string>();
  if (tokens.size === 0) return {};
  const key = await wrappingKey();
  const sealed = [...tokens].map(async ([source, token]) => {
    const value = new Secret(Uint8Array.from(Buffer.from(token)));
    return [source, await wrapValue(value, { ...context, source }, key)] as const;
  });
  return { sourceTokens: Object.fromEntries(await Promise.all(sealed)) };
}
