/** The main thread's end of the SDK's thread: started when it is first needed, and again when it has died. */
import type { Worker } from "node:worker_threads";
import type { WorkerAnswer, WorkerRequest, WorkerResult, WorkerSettings } from "./op-worker.ts";
import { SourceFailure } from "./provider.ts";

/** What the SDK says when it fails as a whole. */
export class OpFailure extends Error {}

export interface OpClient {
  /**
   * @throws {OpFailure} with the SDK's words.
   * @throws {SourceFailure} when its thread died, or did not answer before the signal.
   */
  resolveAll(references: readonly string[], signal: AbortSignal): Promise<readonly WorkerResult[]>;
  close(): Promise<void>;
}

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, (answer: WorkerAnswer | SourceFailure) => void>;
}

/** Published, it is JavaScript. */
const file = new URL(import.meta.url.endsWith(".ts") ? "./op-worker.ts" : "./op-worker.js", import.meta.url);

export function createOpClient(settings: WorkerSettings): OpClient {
  let thread: Thread | undefined;
  let lastId = 0;

  function start(): Thread {
    // Nothing of our environment, and nothing that it prints gets out: a panic prints what it likes.
    // Loaded here, because start-up is most of what a run costs.
    const threads = process.getBuiltinModule("node:worker_threads");
    const worker = new threads.Worker(file, {
      workerData: settings,
      env: {},
      stdout: true,
      stderr: true,
      execArgv: [],
    });
    const started: Thread = { worker, waiting: new Map() };
    worker.on("message", (answer: WorkerAnswer) => started.waiting.get(answer.id)?.(answer));
    // Without a listener, a panic there would end the process here. The exit that follows says it all.
    worker.on("error", () => {});
    worker.on("exit", () => {
      if (thread === started) thread = undefined;
      const failure = new SourceFailure("provider_failed", {
        detail: "the 1Password SDK ended unexpectedly",
        again: true,
      });
      for (const settle of started.waiting.values()) settle(failure);
    });
    // After the listeners, which would take it back: an idle thread keeps no command from ending.
    worker.unref();
    return started;
  }

  return {
    async resolveAll(references, signal) {
      thread ??= start();
      const { worker, waiting } = thread;
      const id = ++lastId;
      // A client that does not answer may never again: its thread goes, and the next request gets a new one.
      const abandon = () => {
        waiting.get(id)?.(new SourceFailure("provider_timeout", { detail: "1Password" }));
        if (thread?.worker === worker) thread = undefined;
        void worker.terminate();
      };
      signal.addEventListener("abort", abandon);
      try {
        const answer = await new Promise<WorkerAnswer | SourceFailure>((resolve) => {
          waiting.set(id, resolve);
          worker.postMessage({ id, references } satisfies WorkerRequest);
        });
        if (answer instanceof SourceFailure) throw answer;
        if ("failure" in answer) throw new OpFailure(answer.failure);
        return answer.results;
      } finally {
        waiting.delete(id);
        signal.removeEventListener("abort", abandon);
      }
    },

    async close() {
      await thread?.worker.terminate();
    },
  };
}
