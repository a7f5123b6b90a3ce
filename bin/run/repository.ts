/** A repository of an OCI registry, with the log-in that podman, buildah or docker has kept (containers-auth.json(5)). */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { isReference, openRegistry, type Registry } from "../../executor/cache/registry.ts";
import { Failure } from "../../shared/failure.ts";

/** @throws {Failure} `usage` for what is no `HOST/NAME`. */
export function openRepository(reference: string, environment: NodeJS.ProcessEnv): Registry {
  if (!isReference(reference)) {
    throw new Failure("usage", { detail: "a repository is HOST/NAME or HOST:PORT/NAME, without a tag" });
  }
  return openRegistry(reference, { findLogin: (host) => findLogin(host, environment) });
}

function findLogin(host: string, environment: NodeJS.ProcessEnv): string | undefined {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG } = environment;
  const usual = [
    join(XDG_RUNTIME_DIR ?? `/run/containers/${process.getuid?.()}`, "containers/auth.json"),
    `/run/containers/${process.getuid?.()}/auth.json`,
    join(XDG_CONFIG_HOME ?? join(homedir(), ".config"), "containers/auth.json"),
    join(DOCKER_CONFIG ?? join(homedir(), ".docker"), "config.json"),
  ];
  const files = REGISTRY_AUTH_FILE ? [REGISTRY_AUTH_FILE] : usual;
  return files.map((file) => readLogin(file, host)).find((login) => login !== undefined);
}

function readLogin(file: string, host: string): string | undefined {
  try {
    const { auths } = JSON.parse(readFileSync(file, "utf8")) as { auths?: Record<string, { auth?: string }> };
    return auths?.[host]?.auth;
  } catch {
    return undefined;
  }
}
