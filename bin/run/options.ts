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
}

/** Gives a command the options that all have that run containers. */
export function withRunOptions(command: Command): Command {
  return command
    .option("--broker <URL>", "ask this broker instead of an embedded one (CLAIMCHECK_BROKER)")
    .option(
      "--token-file <FILE>",
      "where the token for that broker lies; read at each use (CLAIMCHECK_TOKEN_FILE)",
    )
    .option("--executor <SOCKET>", "have the executor of this host run it (CLAIMCHECK_EXECUTOR)")
    .option("--audit <FILE>", "have the embedded broker write down every decision")
    .option("--no-masking", "show secrets in the output (CLAIMCHECK_NO_MASKING=1)")
    .addOption(shortSecretsOption())
    .option("--cache", "take results from the cache, and keep them there; usual for plans")
    .option("--no-cache", "do neither")
    .addOption(cacheFolderOption())
    .addOption(cacheSizeOption())
    .option("--cache-from <REF>", "look in this repository of an OCI registry too (HOST/NAME)")
    .option("--cache-to <REF>", "keep what is made there too")
    .addOption(
      new Option(
        "--on-leak <ACTION>",
        "search the files that are left for values; on a find, do this",
      ).choices(leakActions),
    )
    .option("--tag <NAME>", "make an image of what is left in the end, and call it so")
    .option("--publish <NAME>", "push that image to the registry that the name begins with")
    .option(
      "--registry-auth <ADDRESS=USER,URI>",
      "log in there to pull the image; the URI is the password's (repeatable)",
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
        "users of the container: in a user namespace of its own, or the host's, with weaker walls",
      )
        .choices(["own", "host"])
        .default("own"),
    )
    .addOption(
      new Option(
        "--seccomp <PROFILE>",
        "system calls: strict, or podman's, which lets a container make namespaces and mounts of its own",
      )
        .choices(["strict", "podman"])
        .default("strict"),
    );
}

export function shortSecretsOption(): Option {
  return new Option(
    "--short-secrets <WHAT>",
    "what to do about a secret of less than 4 bytes, which cannot be masked",
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
