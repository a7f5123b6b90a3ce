/** A connection to Redis that runs scripts within a time limit, whatever the server and the network do. */
import { createHash } from "node:crypto";
import { once, setMaxListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import { Redis, ReplyError } from "ioredis";
import { ClaimcheckError } from "../../shared/errors.ts";

/** What a script answers: Redis has no other types for it. */
export type Reply = Buffer | number | null | readonly Reply[];

export type RunScript = (
  script: string,
  keys: readonly string[],
  args: readonly (string | Uint8Array)[],
) => Promise<Reply>;

/** For one operation, in milliseconds. */
export const defaultTimeLimit = 2000;

/** How often the server is looked at while nobody asks for anything, in milliseconds. */
export const watchTime = 2000;

const noAnswer = "Redis does not answer";

/** @param timeLimit for one operation, in milliseconds. */
export function connect(url: string, timeLimit: number) {
  const redis = new Redis(url, {
    // What cannot be sent now is not sent later either, when nobody waits for it any more.
    enableOfflineQueue: false,
    // What was under way when the connection broke fails at once, and is sent again below or not at all.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: timeLimit,
    commandTimeout: timeLimit,
    // A server that stops answering is given up, with all that waits for it.
    socketTimeout: timeLimit,
    // A server that was a primary: whoever took over may be reached under the same name.
    reconnectOnError: ({ message }) => message.startsWith("READONLY"),
    retryStrategy: (attempts) => Math.min(20 * 2 ** attempts, 500),
  });
  // One for each operation that waits for the connection.
  setMaxListeners(0, redis);
  let lastError: unknown;
  redis.on("error", (error) => {
    lastError = error;
  });
  redis.on("ready", () => {
    lastError = undefined;
    void beFit().catch(() => {});
  });
  let fit: Promise<void> | undefined;
  let trouble: string | undefined = noAnswer;
  let runId: string | undefined;
  redis.on("close", () => {
    fit = undefined;
    runId = undefined;
    trouble = noAnswer;
  });
  const watching = setInterval(() => {
    if (redis.status !== "ready") return;
    fit = undefined;
    void beFit().catch(() => {});
    void followName().catch(() => {});
  }, watchTime).unref();

  const hashes = new Map<string, string>();

  /** Scripts are sent by their SHA-1, and as a whole to a server that does not know them yet. */
  async function evaluate(script: string, keys: readonly string[], args: readonly (string | Uint8Array)[]) {
    const rest = [
      keys.length,
      ...keys,
      ...args.map((each) => (typeof each === "string" ? each : Buffer.from(each))),
    ];
    const hash = hashes.get(script) ?? createHash("sha1").update(script).digest("hex");
    hashes.set(script, hash);
    try {
      return (await redis.callBuffer("EVALSHA", hash, ...rest)) as Reply;
    } catch (error) {
      if (!(error instanceof ReplyError && String(error).includes("NOSCRIPT"))) throw error;
      return (await redis.callBuffer("EVAL", script, ...rest)) as Reply;
    }
  }

  /** A server that evicts would forget revocations and proofs while what they are about lives on. */
  async function refuseEviction(): Promise<void> {
    const info = await redis.info().catch((error) => {
      trouble = error instanceof ReplyError ? "Redis does not say what its maxmemory-policy is" : noAnswer;
      throw error;
    });
    runId = field(info, "run_id");
    trouble =
      field(info, "maxmemory_policy") === "noeviction"
        ? undefined
        : "Redis may evict; its maxmemory-policy must be noeviction";
    if (trouble) throw unavailable(trouble);
  }

  /** After a failover the name leads to another server, while the old one may still answer on this connection. */
  async function followName(): Promise<void> {
    const anew = new Redis(url, {
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      connectTimeout: timeLimit,
      commandTimeout: timeLimit,
      retryStrategy: () => null,
    });
    anew.on("error", () => {});
    try {
      await anew.connect();
      const found = field(await anew.info("server"), "run_id");
      if (runId !== undefined && found !== runId) redis.disconnect(true);
    } finally {
      anew.disconnect();
    }
  }

  /** Asked when the connection begins and every `watchTime`, and again for as long as the answer is not good. */
  function beFit(): Promise<void> {
    fit ??= refuseEviction().catch((error) => {
      fit = undefined;
      throw error;
    });
    return fit;
  }

  async function ready(signal: AbortSignal): Promise<void> {
    if (redis.status === "end") throw new Error("the store is closed");
    if (redis.status !== "ready") await once(redis, "ready", { signal });
    await beFit();
  }

  return {
    /** What keeps scripts from being run, as far as it is known; asking makes it be looked at again. */
    trouble(): string | undefined {
      if (trouble !== undefined && redis.status === "ready") void beFit().catch(() => {});
      return trouble;
    },

    /** @throws {ClaimcheckError} `store_unavailable`; the script may have run then. */
    run: (async (script, keys, args) => {
      const signal = AbortSignal.timeout(timeLimit);
      for (;;) {
        try {
          await ready(signal);
          return await evaluate(script, keys, args);
        } catch (error) {
          if (error instanceof ClaimcheckError) throw error;
          const answered = error instanceof ReplyError;
          if (answered || signal.aborted || redis.status === "end") {
            throw unavailable(answered ? error : (lastError ?? error));
          }
          // The connection is lost and there is time left: a script does its work once, however often it is sent.
          await setImmediate();
        }
      }
    }) satisfies RunScript,

    close(): void {
      clearInterval(watching);
      redis.disconnect();
    },
  };
}

const field = (info: string, name: string): string | undefined =>
  new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1];

// Not the error itself, which has the arguments of the command with it.
const unavailable = (cause: unknown) =>
  new ClaimcheckError("store_unavailable", { cause: new Error(`Redis: ${cause}`) });
