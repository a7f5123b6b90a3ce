/** Reads a policy file in a thread of its own, which ends with it. */
import type { ReadPolicy } from "../../broker/policy/file.ts";

/** Published, it is JavaScript. */
const file = new URL(
  import.meta.url.endsWith(".ts") ? "./policy-worker.ts" : "./policy-worker.js",
  import.meta.url,
);

/** In milliseconds. */
const timeLimit = 60_000;
/** In MiB. */
const memoryLimit = 1024;

/** Never throws: a file that cannot be read in time and within the memory is one with a fault. */
export async function readPolicyApart(text: string): Promise<ReadPolicy> {
  // Loaded here, because only a central broker needs it.
  const threads = process.getBuiltinModule("node:worker_threads");
  const worker = new threads.Worker(file, {
    workerData: text,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: memoryLimit },
  });
  const refusal = (message: string): ReadPolicy => ({ faults: [{ line: 1, message }] });
  let timer: NodeJS.Timeout | undefined;
  const read = await new Promise<ReadPolicy>((resolve) => {
    timer = setTimeout(
      () => resolve(refusal(`reading the file took longer than ${timeLimit / 1000} seconds`)),
      timeLimit,
    );
    worker.once("message", resolve);
    worker.once("error", (error: NodeJS.ErrnoException) =>
      resolve(refusal(`reading the file failed (${error.code ?? error.name})`)),
    );
    worker.once("exit", () => resolve(refusal("reading the file ended early")));
  });
  clearTimeout(timer);
  await worker.terminate();
  return read;
}
