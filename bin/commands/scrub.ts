/** claimcheck scrub: masks secrets in what comes through, for commands that `claimcheck run` does not start. */
import { Command } from "commander";
import { envUri } from "../../broker/providers/env.ts";
import { buildScrubber, forward } from "../../executor/output/forward.ts";
import { streamSource } from "../../executor/output/pipe.ts";
import type { ShortSecrets } from "../../executor/plan/plan.ts";
import { Failure } from "../../shared/failure.ts";
import { Secret } from "../../shared/secret.ts";
import { type BrokerOptions, connect } from "../connect/connection.ts";
import { limits, readNamed } from "../host/read.ts";
import { shortSecretsOption } from "../run/options.ts";

interface ScrubOptions extends BrokerOptions {
  readonly env?: readonly string[];
  readonly secretFile?: readonly string[];
  readonly uri?: readonly string[];
  readonly shortSecrets: ShortSecrets;
}

export function scrubCommand(): Command {
  return new Command("scrub")
    .description("Mask secrets in standard input, and pass on the rest at once.")
    .option("--env <NAME>", "mask the value of this variable (repeatable)", collect)
    .option("--secret-file <PATH>", "mask the content of this file (repeatable)", collect)
    .option("--uri <URI>", "mask the secret at this URI (repeatable)", collect)
    .option("--broker <URL>", "ask this broker instead of an embedded one (CLAIMCHECK_BROKER)")
    .option("--audit <FILE>", "write every decision of the embedded broker to this audit log")
    .addOption(shortSecretsOption())
    .addHelpText("after", "\nExample:\n  make 2>&1 | claimcheck scrub --env GITHUB_TOKEN")
    .action(scrub);
}

/** Until all values are known nothing is passed on, and if one cannot be had, nothing ever is. */
async function scrub(options: ScrubOptions): Promise<void> {
  const { env = [], secretFile = [], uri = [] } = options;
  if (env.length + secretFile.length + uri.length === 0) {
    throw new Failure("usage", { detail: "name the secrets to mask with --env, --secret-file or --uri" });
  }
  const files = secretFile.map(readSecret);
  const uris = [...env.map(envUri), ...uri];
  const secrets = [...files, ...(await redeem(uris, options))];
  const scrubber = buildScrubber(secrets, [], options.shortSecrets);
  for (const { value } of secrets) value.wipe();
  await forward(streamSource(process.stdin), scrubber.stream(), process.stdout, {
    name: "standard output",
  });
  scrubber.wipe();
}

const readSecret = (path: string) => ({
  name: path,
  value: new Secret(readNamed(`--secret-file ${path}`, path, limits.value)),
});

async function redeem(uris: readonly string[], options: BrokerOptions) {
  if (uris.length === 0) return [];
  const broker = await connect(options, process.env, new AbortController().signal);
  const handles = await broker.issue(uris.map((uri) => ({ uri })));
  const redeemed = await broker.redeem(handles, { masked: true });
  return redeemed.map(({ value }, index) => ({ name: `secret ${index + 1}`, value }));
}

const collect = (text: string, before: readonly string[] = []) => [...before, text];
