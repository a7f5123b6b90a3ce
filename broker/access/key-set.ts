/**
 * An issuer's public keys, fetched from its JWKS and kept. Keys that were fetched once stay good while the issuer
 * is down; a `kid` that is not among them is looked for once more, but not more often than the cool-down.
 */
import * as jose from "jose";
import { ClaimcheckError } from "../../shared/errors.ts";
import { isTrustworthy } from "../../shared/origin.ts";

/** For one fetch, discovery included, in milliseconds. */
const timeLimit = 5_000;
/** How long keys are used without asking whether there are others, in milliseconds. */
const refreshAfter = 10 * 60_000;
/** The least time between two fetches, whether they went well or not, in milliseconds. */
const coolDown = 30_000;
/** The largest document that is read, in bytes. */
const sizeLimit = 1024 * 1024;

/** Where an issuer's keys are: at `keys`, or where its OpenID Connect discovery document says. */
export interface KeyLocation {
  readonly issuer: string;
  readonly keys?: string | undefined;
}

export interface KeySet {
  readonly issuer: string;
  /** @throws {ClaimcheckError} `issuer_unavailable` where there is no key to check with. */
  readonly find: jose.JWTVerifyGetKey;
  /** Whether the last fetch failed. */
  isFailing(): boolean;
}

export function remoteKeys({ issuer, keys }: KeyLocation): KeySet {
  let failed: { readonly at: number; readonly cause: unknown } | undefined;
  let fetched = 0;

  const load: jose.FetchImplementation = async (_, options) => {
    if (failed && Date.now() - failed.at < coolDown) throw failed.cause;
    try {
      const document = await fetchJson(keys ?? (await discover(issuer, options)), options);
      jose.createLocalJWKSet(document as jose.JSONWebKeySet); // Throws for what is no key set.
      failed = undefined;
      fetched = Date.now();
      return Response.json(document);
    } catch (cause) {
      failed = { at: Date.now(), cause };
      throw cause;
    }
  };
  const remote = jose.createRemoteJWKSet(new URL(keys ?? issuer), {
    timeoutDuration: timeLimit,
    cooldownDuration: coolDown,
    cacheMaxAge: Number.POSITIVE_INFINITY,
    [jose.customFetch]: load,
  });

  return {
    issuer,
    async find(header, token) {
      try {
        if (remote.jwks() && Date.now() - fetched > refreshAfter) void remote.reload().catch(() => {});
        return await remote(header, token);
      } catch (cause) {
        // While the issuer cannot be asked, nobody knows whether a key that is missing here is missing there.
        if (cause instanceof jose.errors.JOSEError && !failed) throw cause;
        throw new ClaimcheckError("issuer_unavailable", { cause });
      }
    },
    isFailing: () => failed !== undefined,
  };
}

async function discover(issuer: string, options: RequestInit): Promise<string> {
  const document = await fetchJson(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, options);
  const { issuer: named, jwks_uri: found } = document as { issuer?: unknown; jwks_uri?: unknown };
  if (named !== issuer) throw new Error("the discovery document is another issuer's");
  if (typeof found !== "string" || !isTrustworthy(found)) throw new Error("the jwks_uri is not https");
  return found;
}

async function fetchJson(url: string, options: RequestInit): Promise<unknown> {
  const response = await fetch(url, options);
  if (response.status !== 200) throw new Error(`HTTP status ${response.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > sizeLimit) throw new Error("the document is too large");
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString());
}
