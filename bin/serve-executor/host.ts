/** The service of `claimcheck executor`, put together from its configuration. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createBrokerCall } from "../../executor/broker-client/call.ts";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { headsIn } from "../../executor/broker-client/heads.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { createBrokerKeys } from "../../executor/broker-client/keys.ts";
import { openStepCache, type Run } from "../../executor/cache/step-cache.ts";
import { createRunQueue } from "../../executor/server/run-queue.ts";
import { createExecutorServer, type ServedRequest } from "../../executor/server/server.ts";
import { createWarmSupervisors } from "../../executor/server/warm-supervisors.ts";
import { Failure } from "../../shared/failure.ts";
import { brokerUrl, directFetch } from "../connect/connection.ts";
import { tokenSource } from "../connect/token.ts";
import { causeWord } from "../host/cause-word.ts";
import { toolEnvironment } from "../host/environment.ts";
import { loadProofKey } from "../host/key-files.ts";
import { openLayers, openResults } from "../run/results.ts";
import type { ExecutorConfig } from "./config.ts";
import { listenOn } from "./socket.ts";

/** For how long the broker's keys are not asked for again, in milliseconds. */
const keysLifetime = 5 * 60 * 1000;

/** Serves until a signal ends it; the second one ends what is running too. */
export async function serveExecutor(config: ExecutorConfig, environment: NodeJS.ProcessEnv): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new Failure("unsupported_host", { detail: "containers need Linux and root" });
  }
  if (config.permissions.ceilings.storage && !existsSync("/dev/loop-control")) {
    throw new Failure("unsupported_host", {
      detail: "ceilings.storage: this host has no loop devices; storage: none does without a limit",
    });
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
  const standby = createWarmSupervisors();
  const executor = createExecutorServer({
    ...config,
    token,
    environment: tools,
    ...(config.cacheSize > 0 && { openCache: await openCache(config, tools) }),
    supervise: standby.start,
    ...(Number.isFinite(config.imagesSize) && { onPulled: keepImagesSmall(config, tools, standby.release) }),
    places: createRunQueue(limits.runs, limits.waiting),
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
      const { pruneImages } = await import("../../executor/image/pruning.ts");
      for (const { id, names, bytes } of await pruneImages(
        { keep: imagesSize, lately },
        { state, environment, signal, release },
      )) {
        tell(`removed image ${names[0] ?? id.slice(0, 12)}, ${bytes} bytes`);
      }
    } catch {
      tell("the executor could not list the pulled images; it tries again after the next pull");
    }
  }
  return () => {
    last = last.then(makeRoom);
  };
}

function missingToken(): never {
  throw new Failure("token_unavailable", { detail: "the request contains no token of the job" });
}

/** Known to this process and to whoever may read the file. One of an earlier start is replaced, and nothing else. */
function makeToken(path: string): string {
  const token = randomBytes(32).toString("base64url");
  try {
    const before = existsSync(path) ? readFileSync(path, "latin1") : undefined;
    if (before !== undefined && !/^[\w-]{43}\n$/.test(before)) {
      throw new Failure("state_unusable", {
        detail: `listen.tokenFile: ${path} exists and does not hold an executor's token; name another path`,
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

/** A line of JSON. */
function log({ cause, ...entry }: ServedRequest): void {
  const short = causeWord(cause);
  const line = {
    time: new Date().toISOString(),
    ...entry,
    ...(short !== undefined && { cause: short }),
  };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
