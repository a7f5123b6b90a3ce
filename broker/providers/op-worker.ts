/**
 * The thread in which 1Password's SDK lives: its WebAssembly takes most of a second to log in, and when it panics it
 * takes its thread along. It only carries messages; what they mean is told in op.ts.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { Client } from "@1password/sdk";

export interface WorkerSettings {
  readonly token: string;
  /** The only place that the SDK may speak to. */
  readonly origin: string;
  readonly version: string;
}

export interface WorkerRequest {
  readonly id: number;
  readonly references: readonly string[];
}

/** For one reference. */
export type WorkerResult =
  | { readonly value: Uint8Array; readonly vault: string; readonly item: string }
  | { readonly error: string; readonly message?: string | undefined };

export type WorkerAnswer = { readonly id: number } & (
  | { readonly results: readonly WorkerResult[] }
  | { readonly failure: string }
);

const { token, origin, version } = workerData as WorkerSettings;
const port = parentPort!;
let connecting: Promise<Client> | undefined;

// The SDK looks fetch up when it calls it. An answer must not lead it elsewhere: what it sends is meant for one place.
const { fetch } = globalThis;
globalThis.fetch = (input, init) => {
  const url = input instanceof Request ? input.url : input;
  if (new URL(url).origin !== origin) return Promise.reject(new TypeError("another origin"));
  return fetch(input, { ...init, redirect: "error" });
};

async function connect(): Promise<Client> {
  const { createClient } = await import("@1password/sdk");
  return createClient({ auth: token, integrationName: "claimcheck", integrationVersion: version });
}

async function resolve(references: readonly string[]): Promise<WorkerResult[]> {
  connecting ??= connect().catch((thrown) => {
    connecting = undefined;
    throw thrown;
  });
  const { secrets } = await connecting;
  const { individualResponses } = await secrets.resolveAll([...references]);
  return references.map((reference): WorkerResult => {
    const { content, error } = individualResponses[reference] ?? {};
    if (content) {
      const value = Uint8Array.from(Buffer.from(content.secret));
      return { value, vault: content.vaultId, item: content.itemId };
    }
    const message = error && "message" in error ? error.message : undefined;
    return { error: error?.type ?? "missing", message };
  });
}

port.on("message", async ({ id, references }: WorkerRequest) => {
  const answer = await resolve(references).then(
    (results): WorkerAnswer => ({ id, results }),
    // Some of what it throws is no Error.
    (thrown: unknown): WorkerAnswer => ({
      id,
      failure: thrown instanceof Error ? thrown.message : `${thrown}`,
    }),
  );
  const values =
    "results" in answer ? answer.results.flatMap((each) => ("value" in each ? [each.value.buffer] : [])) : [];
  port.postMessage(answer, values as ArrayBuffer[]);
});
