/** What this process's environment is for: settings of ours, and what the programs we start need of it. */
import { homedir } from "node:os";
import { join } from "node:path";

/**
 * The variables that runc, buildah and mount go by. Everything else stays here: a runner's environment is where
 * the secrets are.
 */
const passedOn =
  /^(PATH|HOME|USER|LANG|LC_.*|TMPDIR|TZ|XDG_.*|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|REGISTRY_AUTH_FILE|(BUILDAH|CONTAINERS|STORAGE)_.*)$/i;

export function toolEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(environment).filter(([name]) => passedOn.test(name));
  return {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    ...(Object.fromEntries(entries) as Record<string, string>),
  };
}

/** Where this user's root key lies. */
export function stateFolder(environment: NodeJS.ProcessEnv): string {
  return join(environment.XDG_STATE_HOME || join(homedir(), ".local", "state"), "claimcheck");
}

/** Where this user's runs are, and what is known of images. */
export function containerFolder(environment: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return "/var/lib/claimcheck";
  return join(environment.XDG_DATA_HOME || join(homedir(), ".local", "share"), "claimcheck");
}

/** Where the heads of brokers' audit logs are kept that this user has seen. */
export const headsFolder = (environment: NodeJS.ProcessEnv): string =>
  join(stateFolder(environment), "audit-heads");
