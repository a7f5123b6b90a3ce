/** The root keys that `claimcheck broker keys` is asked about. */
import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";
import { printFaults } from "../host/print-faults.ts";

interface RootKeys {
  readonly rootKey: Secret;
  readonly previous?: Secret | undefined;
}

/** @throws {Failure} `usage` or `state_unusable`. */
export async function loadKeys(config: string | undefined, file: string | undefined): Promise<RootKeys> {
  if (config === undefined) return { rootKey: await readFile(file ?? "") };
  const { readBrokerConfig } = await import("../serve-broker/config.ts");
  const read = await readBrokerConfig(config, process.env);
  if (!("faults" in read)) return { rootKey: read.rootKey, previous: read.previousRootKey };
  for (const [path, faults] of read.faults) printFaults(path, faults);
  throw new Failure("usage", { detail: `${config} cannot be used` });
}

async function readFile(path: string): Promise<Secret> {
  const { readRootKey } = await import("../host/key-files.ts");
  return readRootKey(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause instanceof Failure) throw cause;
    throw new Failure("usage", { detail: `${path} cannot be read (${cause.code})`, cause });
  });
}
