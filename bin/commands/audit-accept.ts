/** claimcheck audit accept-head: lets a log go on that lacks what its broker wrote, as after a restore, and records that. */
import { Command } from "commander";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";
import { printFaults } from "../host/print-faults.ts";
import type { OpenSink } from "../serve-broker/audit-sinks.ts";

export function acceptHeadCommand(): Command {
  return new Command("accept-head")
    .description(
      "Accept a log that has lost records, for example after a restore from a backup. " +
        "The log records this. Stop the broker first.",
    )
    .requiredOption("--config <FILE>", "the broker's configuration")
    .action(accept);
}

async function accept({ config: path }: { readonly config: string }): Promise<void> {
  const [{ readBrokerConfig }, { createKeys }, { openSinks, memoriesOf }, connection, { redisHeads }] =
    await Promise.all([
      import("../serve-broker/config.ts"),
      import("../../broker/keys/keys.ts"),
      import("../serve-broker/audit-sinks.ts"),
      import("../../broker/store/connection.ts"),
      import("../../broker/store/head-store.ts"),
    ]);
  const config = await readBrokerConfig(path, process.env);
  if ("faults" in config) {
    for (const [file, faults] of config.faults) printFaults(file, faults);
    throw new Failure("usage", { detail: `${path} cannot be used` });
  }
  const { redis, rootKey, previousRootKey: previous, audit } = config;
  if (redis === undefined) {
    throw new Failure("usage", { detail: `${path} names no redis, so no head of its log is remembered` });
  }
  const keys = await createKeys(rootKey, { ...(previous && { previous }) });
  const { run, close } = connection.connect(redis, connection.defaultTimeLimit);
  try {
    const places = await openSinks(audit, keys.findAuditKey);
    const memories = await memoriesOf(places, keys, redisHeads(run));
    for (const [nth, place] of places.entries()) {
      await acceptPlace(place, { key: keys.auditKey, memory: memories[nth] });
    }
  } finally {
    close();
  }
}

type Opened = Parameters<typeof import("../../broker/audit/chain.ts").openChain>;

async function acceptPlace(
  { name, sink }: OpenSink,
  { key, memory }: { readonly key: Opened[1]; readonly memory: NonNullable<Opened[2]>["memory"] },
): Promise<void> {
  const { openChain } = await import("../../broker/audit/chain.ts");
  try {
    const chain = await openChain(sink, key, { memory, acceptsLoss: true });
    try {
      await chain.look();
      const missing = chain.accepted();
      process.stdout.write(
        missing
          ? `the audit log ${name}: accepted, though it lacks what the broker wrote up to seq ${missing.seq} ` +
              `of chain ${missing.chain}\n`
          : `the audit log ${name}: nothing to accept, it has all that is remembered of it\n`,
      );
    } finally {
      await chain.close();
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = cause instanceof ClaimcheckError ? (cause.detail ?? cause.message) : code;
    throw new Failure("state_unusable", { detail: `the audit log ${name} cannot be used: ${why}`, cause });
  }
}
