/**
 * An issuer's public keys, fetched from its JWKS and kept. Keys that were fetched once stay good while the issuer
 * is down; one that the issuer withdraws is believed for `refreshAfter` at most, also for tokens that were verified
 * before. A `kid` that is not among them is looked for once more, but not more often than the cool-down; until then
 * nobody knows whether it is a new one.
 */
import * as jose from "jose";
import { ClaimcheckError } from "../../shared/errors.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import { readBounded } from "../../shared/read-bounded.ts";

/** For one fetch, discovery included, in milliseconds. */
const timeLimit = 5_000;
/** How long keys are used without asking whether there are others, in milliseconds. */
const refreshAfter = 10 * 60_000;
/** The least time between two fetches, in milliseconds. */
const coolDown = 10_000;
/** And after one that failed. */
const failureCoolDown = 30_000;
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
  /** Another one each time that its keys are others; fetches them where they are old. */
  version(): Promise<number>;
  /** Whether the last fetch failed. */
  isFailing(): boolean;
}

export function remoteKeys({ issuer, keys }: KeyLocation): KeySet {
  let failed: { readonly at: number; readonly cause: unknown } | undefined;
  let fetched = 0;
  let fetches = 0;
  let text = "";
  let version = 0;

  const load: jose.FetchImplementation = async (_, options) => {
    if (failed && Date.now() - failed.at < failureCoolDown) throw failed.cause;
    try {
      const document = await fetchJson(keys ?? (await discover(issuer, options)), options);
      jose.createLocalJWKSet(document as jose.JSONWebKeySet); // Throws for what is no key set.
      failed = undefined;
      fetched = Date.now();
      fetches += 1;
      const fetchedText = JSON.stringify(document);
      if (fetchedText !== text) version += 1;
      text = fetchedText;
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

  async function refresh(): Promise<void> {
    if (!remote.jwks() || Date.now() - fetched <= refreshAfter) return;
    const reloading = remote.reload().catch(() => {});
    // An issuer that is down is waited for once, and not by everybody who comes after.
    if (!failed) await reloading;
  }

  return {
    issuer,
    async find(header, token) {
      const before = fetches;
      try {
        await refresh();
        return await remote(header, token);
      } catch (cause) {
        if (cause instanceof jose.errors.JWKSNoMatchingKey && !failed && fetches === before) {
          throw new ClaimcheckError("issuer_unavailable", {
            detail: `the token's key may be a new one of the issuer; its keys are fetched again within ${coolDown / 1000} s`,
            cause,
          });
        }
        // While the issuer cannot be asked, nobody knows whether a key that is missing here is missing there.
        if (cause instanceof jose.errors.JOSEError && !failed) throw cause;
        throw new ClaimcheckError("issuer_unavailable", { cause });
      }
    },
    async version() {
      await refresh();
      return version;
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
  const body = await readBounded(response.body, sizeLimit, () => new Error("the document is too large"));
  return JSON.parse(body.toString());
}
