/** The service of `claimcheck executor`, put together from its configuration. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { headsIn } from "../executor/audit-heads.ts";
import { createBrokerCall } from "../executor/broker-call.ts";
import { createBrokerClient } from "../executor/broker-client.ts";
import { createBrokerKeys } from "../executor/broker-keys.ts";
import { openStepCache, type Run } from "../executor/cache/step-cache.ts";
import { Failure } from "../executor/failure.ts";
import { createIdentity } from "../executor/identity.ts";
import { createPlaces } from "../executor/server/places.ts";
import { createExecutorServer, type ServedRequest } from "../executor/server/server.ts";
import { createStandby } from "../executor/server/standby.ts";
import { brokerUrl, directFetch } from "./broker-connection.ts";
import { toolEnvironment } from "./environment.ts";
import type { ExecutorConfig } from "./executor-config.ts";
import { listenOn } from "./executor-socket.ts";
import { openLayers, openResults } from "./results.ts";
import { loadProofKey } from "./root-key.ts";
import { tokenSource } from "./token.ts";

/** For how long the broker's keys are not asked for again, in milliseconds. */
const keysLifetime = 5 * 60 * 1000;

/** Serves until a signal ends it; the second one ends what is running too. */
export async function serveExecutor(config: ExecutorConfig, environment: NodeJS.ProcessEnv): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new Failure("unsupported_host", { detail: "containers need Linux and root" });
  }
  const { broker, limits, listen } = config;
  const url = brokerUrl(broker.url);
  const identity = await createIdentity(await loadProofKey(config.state));
  const findToken = tokenSource(broker.tokenFile, environment, url, identity.jkt);
  const keepHeads = headsIn(join(config.state, "audit-heads"));
  const { signal: never } = new AbortController();
  const call = createBrokerCall({ url, fetch: directFetch, signal: never });
  const keys = createBrokerKeys(call, broker.keys, keysLifetime);
  const token = "address" in listen ? makeToken(listen.tokenFile) : undefined;
  const tools = toolEnvironment(environment);
  const standby = createStandby();
  const executor = createExecutorServer({
    ...config,
    token,
    environment: tools,
    ...(config.cacheSize > 0 && { openCache: await openCache(config, tools) }),
    supervise: standby.start,
    ...(Number.isFinite(config.imagesSize) && { onPulled: keepImagesSmall(config, tools, standby.release) }),
    places: createPlaces(limits.runs, limits.waiting),
    connect: async (jobToken, signal) =>
      createBrokerClient({
        url,
        fetch: directFetch,
        findToken,
        requester: { findToken: () => jobToken ?? missingToken(), audience: broker.principal },
        pinnedKeys: broker.keys,
        keys,
        identity,
        keepHeads,
        signal,
      }),
    log,
  });
  const where = await listenOn(executor.server, listen);
  process.stderr.write(`claimcheck: executor at ${where}, proof key ${identity.jkt}\n`);
  let stopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) executor.cancel();
      stopping = true;
      const late = setTimeout(executor.cancel, config.drainLimit);
      void executor
        .drain()
        .then(standby.close)
        .then(() => clearTimeout(late));
    });
  }
}

/** Results of this executor's own, for whoever proves handles for the same secrets. */
async function openCache({ state, cacheSize }: ExecutorConfig, tools: Readonly<Record<string, string>>) {
  const store = await openResults(join(state, "cache"), state, (line) =>
    process.stderr.write(`claimcheck: ${line}\n`),
  );
  const layers = openLayers(state, tools);
  return async (run: Run) => openStepCache({ store, layers, sizeLimit: cacheSize, explains: false }, run);
}

/** What a run used within this time may be about to be used again, in milliseconds. */
const lately = 60_000;

/** @returns what removes images that were pulled for runs, one removal after the other. */
function keepImagesSmall(
  { state, imagesSize }: ExecutorConfig,
  environment: Readonly<Record<string, string>>,
  release: (layer: string) => Promise<void>,
) {
  const { signal } = new AbortController();
  let last: Promise<void> = Promise.resolve();
  async function makeRoom(): Promise<void> {
    const tell = (line: string) => process.stderr.write(`claimcheck: ${line}\n`);
    try {
      const { pruneImages } = await import("../executor/image-pruning.ts");
      for (const { id, names, bytes } of await pruneImages(
        { keep: imagesSize, lately },
        { state, environment, signal, release },
      )) {
        tell(`removed image ${names[0] ?? id.slice(0, 12)}, ${bytes} bytes`);
      }
    } catch {
      tell(
        "the images that were pulled could not be looked at; they are looked at again after the next pull",
      );
    }
  }
  return () => {
    last = last.then(makeRoom);
  };
}

function missingToken(): never {
  throw new Failure("token_unavailable", { detail: "the request carries no token of the job's" });
}

/** Known to this process and to whoever may read the file. One of an earlier start is replaced, and nothing else. */
function makeToken(path: string): string {
  const token = randomBytes(32).toString("base64url");
  try {
    const before = existsSync(path) ? readFileSync(path, "latin1") : undefined;
    if (before !== undefined && !/^[\w-]{43}\n$/.test(before)) {
      throw new Failure("state_unusable", {
        detail: `listen.tokenFile: ${path} is there, and holds no token of an executor; name another path`,
      });
    }
    rmSync(path, { force: true });
    writeFileSync(path, `${token}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new Failure("state_unusable", { detail: `${path} cannot be written (${code})`, cause });
  }
  return token;
}

/** A line of JSON. Of a cause only its name or the system's word for it: a message may quote what it was given. */
function log({ cause, ...entry }: ServedRequest): void {
  const named = cause as { code?: unknown; name?: unknown } | undefined;
  const line = {
    time: new Date().toISOString(),
    ...entry,
    ...(named && { cause: named.code ?? named.name }),
  };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
