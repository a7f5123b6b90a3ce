/**
 * A broker with the secrets of this host, memory for its handles, and an issuer made for the occasion: embedded in
 * `claimcheck run`, or served by `claimcheck broker --dev`. It is the same app as any other.
 */

import { createAuthenticator, throwawayIssuer } from "../../broker/authn/authenticate.ts";
import type { RequestEntry } from "../../broker/broker.ts";
import { type BrokerApp, createApp } from "../../broker/http/app.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { createPolicy, type Rule } from "../../broker/policy/decide.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { createResolver } from "../../broker/resolve/resolver.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import { actions } from "../../shared/actions.ts";
import type { Secret } from "../../shared/secret.ts";
import { type AuditSinks, openAudit } from "./audit-sinks.ts";
import { secretPatterns } from "./secret-patterns.ts";

interface LocalBrokerSettings {
  /** Where it will be reached. */
  readonly url: string;
  readonly rootKey: Secret;
  readonly providers: readonly Provider[];
  readonly audit: AuditSinks;
  /** What the audit log calls the rule by which everything is allowed. */
  readonly rule: string;
  /** Of the access token, in seconds. */
  readonly tokenLifetime: number;
  readonly log: (entry: RequestEntry) => void;
}

export interface LocalBroker {
  readonly app: BrokerApp;
  readonly accessToken: string;
  readonly keyThumbprints: readonly string[];
  close(): Promise<void>;
}

const day = 24 * 60 * 60;
const user = "user";

export async function createLocalBroker(settings: LocalBrokerSettings): Promise<LocalBroker> {
  const { url } = settings;
  const { issuer, token } = await throwawayIssuer("local");
  const keys = await createKeys(settings.rootKey);
  const resolver = createResolver(settings.providers);
  const audit = await openAudit(settings.audit, keys, resolver);
  const allowed: Rule = {
    name: settings.rule,
    effect: "allow",
    actions,
    who: { sub: user },
    limits: { ttl: day, uses: 1_000_000, cacheKeys: ["**"] },
  };
  const app = createApp({
    url,
    authenticate: createAuthenticator([issuer], url),
    policy: createPolicy([allowed], secretPatterns),
    resolver,
    keys,
    store: memoryStore(),
    audit,
    complaints: audit.complaints,
    log: settings.log,
  });
  return {
    app,
    accessToken: await token(user, url, settings.tokenLifetime),
    keyThumbprints: keys.jwks.keys.map(({ kid }) => kid),
    close: async () => {
      await Promise.all([audit.close(), resolver.close()]);
    },
  };
}
