/** What the commands have in common that run containers: their options. */
import { type Command, Option } from "commander";
import type { SeccompProfile } from "../../executor/container/seccomp.ts";
import type { FieldsWith } from "../../executor/plan/field.ts";
import type { Plan, RegistryLogin, ShortSecrets } from "../../executor/plan/plan.ts";
import { planFields, planRowOf, type planTable } from "../../executor/plan/plan-table.ts";
import type { ContainerUsers } from "../../executor/supervisor/supervisor.ts";
import { Failure } from "../../shared/failure.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import { cacheFolderOption, cacheSizeOption } from "./cache-options.ts";
import { addTableFlags, readTableFlags } from "./table-flags.ts";

export interface RunOptions {
  broker?: string;
  executor?: string;
  tokenFile?: string;
  audit?: string;
  registryAuth: readonly RegistryLogin[];
  runtime: string;
  userns: ContainerUsers;
  seccomp: SeccompProfile;
  masking: boolean;
  shortSecrets: ShortSecrets;
  cache?: boolean;
  cacheDir: string;
  cacheSize: number;
  cacheFrom?: string;
  cacheTo?: string;
}

const rows = planFields.map((field) => [field, planRowOf(field)] as const);

/** What of it an executor chooses, where one of a host runs the plan. */
export const hostsChoices = (said: ReturnType<typeof saidOfPlan>): unknown[] =>
  rows.flatMap(([field, { flag }]) =>
    typeof flag === "object" && flag.isHosts ? [said[field as keyof typeof said]] : [],
  );

/** What a command line says of a whole plan. */
export const saidOfPlan = (options: RunOptions): Pick<Plan, FieldsWith<typeof planTable, "flag", object>> =>
  readTableFlags(options, rows);

/** Gives a command the options that all have that run containers. */
export function withRunOptions(command: Command): Command {
  command
    .option("--broker <URL>", "ask this broker instead of an embedded one (CLAIMCHECK_BROKER)")
    .option(
      "--token-file <FILE>",
      "the file with the token for that broker, read at each use (CLAIMCHECK_TOKEN_FILE)",
    )
    .option("--executor <SOCKET>", "let the executor service of this host run the plan (CLAIMCHECK_EXECUTOR)")
    .option("--audit <FILE>", "write every decision of the embedded broker to this audit log")
    .option("--no-masking", "show secrets in the output (CLAIMCHECK_NO_MASKING=1)")
    .addOption(shortSecretsOption())
    .option("--cache", "use cached results, and store new ones; the default for plans")
    .option("--no-cache", "neither use nor store cached results")
    .addOption(cacheFolderOption())
    .addOption(cacheSizeOption())
    .option("--cache-from <REF>", "look for results in this repository of an OCI registry too (HOST/NAME)")
    .option("--cache-to <REF>", "store results in this repository too");
  addTableFlags(command, rows);
  return command
    .option(
      "--registry-auth <ADDRESS=USER,URI>",
      "log in to this registry to pull the image; the URI names the password (repeatable)",
      (text: string, before: readonly RegistryLogin[]) => [...before, parseLogin(text)],
      [],
    )
    .option(
      "--runtime <NAME>",
      "the OCI runtime, with runc's command line, by name or absolute path",
      parseRuntime,
      "runc",
    )
    .addOption(
      new Option(
        "--userns <WHOSE>",
        "the container's users: own, in a user namespace of the run; or host, with weaker isolation",
      )
        .choices(["own", "host"])
        .default("own"),
    )
    .addOption(
      new Option(
        "--seccomp <PROFILE>",
        "the system call filter: strict, or podman's, which lets a container make namespaces and mounts",
      )
        .choices(["strict", "podman"])
        .default("strict"),
    );
}

export function shortSecretsOption(): Option {
  return new Option(
    "--short-secrets <WHAT>",
    "what to do with a secret shorter than 4 bytes, which cannot be masked",
  )
    .choices(["refuse", "show"])
    .default("refuse");
}

function parseRuntime(text: string): string {
  if (/^(\/.*|[^/]+)$/.test(text)) return text;
  throw new Failure("usage", { detail: "--runtime takes a name or an absolute path" });
}

function parseLogin(text: string): RegistryLogin {
  const match = /^([^=]*)=([^,]*),(.+)$/s.exec(text);
  if (!match) throw new Failure("usage", { detail: "--registry-auth takes ADDRESS=USER,URI" });
  const [, address = "", user = "", uri = ""] = match;
  return { address, user, password: takeCacheKey(uri) };
}
