/** A broker for many tenants, put together from its configuration: `claimcheck broker --config`. */
import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type LivePolicy, openPolicy, type PolicyEvent } from "../broker/access/live-policy.ts";
import { type BrokerApp, createApp } from "../broker/app.ts";
import type { RequestEntry } from "../broker/broker.ts";
import { createKeys } from "../broker/keys.ts";
import { createResolver } from "../broker/resolver.ts";
import { memoryStore } from "../broker/store/memory.ts";
import type { HandleStore } from "../broker/store/store.ts";
import { Failure } from "../executor/failure.ts";
import { openAudit } from "./audit-file.ts";
import type { BrokerConfig } from "./broker-config.ts";
import { allowedProviders } from "./providers.ts";

/** The one place that knows which kinds of store there are. A client of Redis is loaded only where one is used. */
async function createStore({ redis }: BrokerConfig): Promise<HandleStore> {
  if (redis === undefined) return memoryStore();
  const { redisStore } = await import("../broker/store/redis.ts");
  return redisStore({ url: redis });
}

export interface CentralBroker {
  readonly app: BrokerApp;
  readonly keyThumbprints: readonly string[];
  /** Reads the policy file again. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

export async function createCentralBroker(
  config: BrokerConfig,
  environment: NodeJS.ProcessEnv,
  log: (entry: RequestEntry | PolicyEvent) => void,
): Promise<CentralBroker> {
  const live = await openPolicy(() => readFile(config.policy, "utf8"), config.url, log);
  // It was in order a moment ago, when the configuration was read.
  if ("faults" in live) throw new Failure("state_unusable", { detail: `${config.policy} has just changed` });
  const { previousRootKey: previous } = config;
  const keys = await createKeys(config.rootKey, { ...(previous && { previous }) });
  const { env: variables, files: roots, commands, signInOrigins, cacheTtl } = config;
  const resolver = createResolver(
    allowedProviders(environment, { variables, roots, commands, signInOrigins }),
    { cacheTtl },
  );
  const audit = await openAudit(config.audit, keys, resolver);
  const store = await createStore(config);
  const app = createApp({
    url: config.url,
    authenticate: live.authenticate,
    policy: live.policy,
    resolver,
    keys,
    store,
    audit,
    complaints: () => [...audit.complaints(), ...live.complaints()],
    log,
  });
  const stopWatching = watchPolicy(config.policy, live);
  return {
    app,
    keyThumbprints: keys.jwks.keys.map(({ kid }) => kid),
    reload: live.reload,
    async close() {
      stopWatching();
      await Promise.all([audit.close(), store.close(), resolver.close()]);
    },
  };
}

/**
 * Watches the folder, because editors put a new file in the place of the old one, and Kubernetes a new link named
 * `..data` beside it.
 */
function watchPolicy(path: string, live: LivePolicy): () => void {
  const names = [basename(path), "..data"];
  const watcher = watch(dirname(path), { persistent: false }, (_, name) => {
    if (name === null || names.includes(name)) void live.reload();
  });
  // Without it there is still SIGHUP.
  watcher.on("error", () => watcher.close());
  return () => watcher.close();
}
