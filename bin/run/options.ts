/** What the commands have in common that run containers: their options. */
import { type Command, Option } from "commander";
import type { SeccompProfile } from "../../executor/container/seccomp.ts";
import {
  type LeakAction,
  leakActions,
  type RegistryLogin,
  type ShortSecrets,
} from "../../executor/plan/plan.ts";
import type { ContainerUsers } from "../../executor/supervisor/supervisor.ts";
import { Failure } from "../../shared/failure.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import { cacheFolderOption, cacheSizeOption } from "./cache-options.ts";

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
  onLeak?: LeakAction;
  tag?: string;
  publish?: string;
  storageOpt: readonly string[];
}

/** Gives a command the options that all have that run containers. */
export function withRunOptions(command: Command): Command {
  return command
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
    .option("--cache-to <REF>", "store results in this repository too")
    .addOption(
      new Option(
        "--on-leak <ACTION>",
        "search the files that each step leaves for secret values; if one is found, do this",
      ).choices(leakActions),
    )
    .option("--tag <NAME>", "make an image of the final files, with this name")
    .option("--publish <NAME>", "push the image to this name's registry")
    .option(
      "--storage-opt <NAME=VALUE>",
      "what all steps together may write: size=10g, and inodes=100000 (repeatable)",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
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
