/** A broker for many tenants, put together from its configuration: `claimcheck broker --config`. */
import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { shareFairly } from "../../broker/audit/fair-share.ts";
import type { HeadStore } from "../../broker/audit/heads.ts";
import type { RequestEntry } from "../../broker/broker.ts";
import type { Complaint } from "../../broker/health.ts";
import { type BrokerApp, createApp } from "../../broker/http/app.ts";
import { createMetrics, type Metrics } from "../../broker/http/metrics.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { openPolicy, type PolicyEvent, type PolicyText } from "../../broker/policy/live.ts";
import { createBudgets } from "../../broker/quota/budget.ts";
import { createQuotas, type Quotas } from "../../broker/quota/quota.ts";
import { createResolver } from "../../broker/resolve/resolver.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import type { HandleStore } from "../../broker/store/store.ts";
import { Failure } from "../../shared/failure.ts";
import { openAudit } from "./audit-sinks.ts";
import { type CertificateEvent, type LiveCertificate, openCertificate } from "./certificate.ts";
import { type BrokerConfig, readBrokerConfig } from "./config.ts";
import { createLiveSources, type SourcesEvent } from "./live-sources.ts";
import { readPolicyApart } from "./policy-thread.ts";
import { secretPatterns } from "./secret-patterns.ts";
import { type ConfiguredSources, createSources, type SourcesSettings } from "./sources.ts";
import { watchFile } from "./watch-file.ts";

/** The one place that knows which kinds of store there are. A client of Redis is loaded only where one is used. */
async function createStore({ redis }: BrokerConfig): Promise<HandleStore> {
  if (redis === undefined) return memoryStore();
  const { redisStore } = await import("../../broker/store/redis.ts");
  return redisStore({ url: redis });
}

/** All of it from one file, also while another one is put into its place. */
async function readPolicyText(path: string): Promise<PolicyText> {
  const file = await open(path);
  try {
    const { dev, ino, birthtimeNs, mtimeMs } = await file.stat({ bigint: true });
    const text = await file.readFile("utf8");
    return { text, file: `${dev} ${ino} ${birthtimeNs}`, writtenAt: Number(mtimeMs) };
  } finally {
    await file.close();
  }
}

/** Replicas count together where they keep their handles together. */
async function openQuotas({
  redis,
  quotas: limits,
}: BrokerConfig): Promise<{ quotas: Quotas; heads?: HeadStore; close(): void }> {
  if (redis === undefined) return { quotas: createQuotas({ limits }), close: () => {} };
  const [{ connect, defaultTimeLimit }, { redisHeads }] = await Promise.all([
    import("../../broker/store/connection.ts"),
    import("../../broker/store/head-store.ts"),
  ]);
  const { run, close } = connect(redis, defaultTimeLimit);
  return { quotas: createQuotas({ limits, run }), heads: redisHeads(run), close };
}

export function surroundingsOf({ file }: BrokerConfig, environment: NodeJS.ProcessEnv): SourcesSettings {
  const folder = dirname(resolve(file));
  return { environment, folder, beside: (path) => resolve(folder, path) };
}

const pickSources = ({ sources, closed }: BrokerConfig): ConfiguredSources => ({ sources, closed });

async function readSources({ file }: BrokerConfig, environment: NodeJS.ProcessEnv) {
  const config = await readBrokerConfig(file, environment);
  return "faults" in config ? undefined : pickSources(config);
}

export interface CentralBroker {
  readonly app: BrokerApp;
  readonly keyThumbprints: readonly string[];
  readonly metrics: Metrics;
  /** For HTTPS, if the configuration has one. */
  readonly certificate: LiveCertificate | undefined;
  /** From now on it is not ready, though it serves. */
  drain(): void;
  /** Reads the policy and the certificate again. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** @param standing what is not as it should be with this process from its start. */
export async function createCentralBroker(
  config: BrokerConfig,
  environment: NodeJS.ProcessEnv,
  log: (entry: RequestEntry | PolicyEvent | CertificateEvent | SourcesEvent) => void,
  standing: readonly Complaint[] = [],
): Promise<CentralBroker> {
  const live = await openPolicy({
    read: () => readPolicyText(config.policy),
    parse: readPolicyApart,
    patterns: secretPatterns,
    audience: config.url,
    report: log,
  });
  // It was in order a moment ago, when the configuration was read.
  if ("faults" in live) throw new Failure("state_unusable", { detail: `${config.policy} has just changed` });
  const { previousRootKey: previous } = config;
  const certificate = config.tls && (await openCertificate(config.tls, log));
  const keys = await createKeys(config.rootKey, { ...(previous && { previous }) });
  const { cacheTtl } = config;
  const metrics = createMetrics();
  const sources = createSources(surroundingsOf(config, environment));
  const resolver = createResolver(sources.take(config), { cacheTtl, observer: metrics.source });
  const liveSources = createLiveSources(
    sources,
    resolver,
    pickSources(config),
    () => readSources(config, environment),
    log,
  );
  const [store, counting] = await Promise.all([createStore(config), openQuotas(config)]);
  const audit = await openAudit(config.audit, keys, resolver, counting.heads).catch(async (cause) => {
    // Their connections would keep the process from ending.
    counting.close();
    await store.close();
    throw cause;
  });
  metrics.watch(store);
  let draining = false;
  const app = createApp({
    url: config.url,
    authenticate: live.authenticate,
    policy: live.policy,
    quotas: counting.quotas,
    budgets: createBudgets(),
    resolver,
    keys,
    store,
    audit: metrics.timed(shareFairly(audit)),
    complaints: () => [
      ...(draining ? [{ part: "broker", message: "it is draining, to end soon", serving: false }] : []),
      ...standing,
      ...audit.complaints(),
      ...store.complaints(),
      ...live.complaints(),
      ...liveSources.complaints(),
      ...(certificate?.complaints() ?? []),
    ],
    log(entry) {
      metrics.request(entry);
      log(entry);
    },
  });
  const watched: [path: string, reload: () => Promise<void>][] = [
    [config.policy, live.reload],
    [config.file, liveSources.reload],
  ];
  if (config.tls && certificate) {
    watched.push([config.tls.certificate, certificate.reload], [config.tls.key, certificate.reload]);
  }
  const watching = watched.map(([path, reload]) => watchFile(path, () => void reload()));
  return {
    app,
    metrics,
    keyThumbprints: keys.jwks.keys.map(({ kid }) => kid),
    certificate,
    drain() {
      draining = true;
    },
    async reload() {
      await Promise.all([live.reload(true), liveSources.reload(), certificate?.reload()]);
    },
    async close() {
      for (const stop of watching) stop();
      await Promise.all([audit.close(), store.close(), resolver.close(), sources.close()]);
      counting.close();
    },
  };
}
