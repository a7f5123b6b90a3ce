/**
 * What is different for a user who is not root: containers live in a user namespace, where that user's number stands for
 * root and the subordinate ones of /etc/subuid for all others, as with podman and buildah.
 */
import { Failure } from "./failure.ts";
import type { Step } from "./plan.ts";

export const isRootless = process.getuid?.() !== 0;

/** For unshare(1): the namespace, which buildah makes in the same way. */
export const userNamespace = isRootless ? ["--user", "--map-root-user", "--map-auto"] : [];

/**
 * Only root can divide up the host's network and resources.
 *
 * @throws {Failure} `unsupported_host` rather than run without a limit that was asked for.
 */
export function checkRootless(step: Step): void {
  const flags = { "--memory": step.memory, "--cpus": step.cpus, "--pids-limit": step.pidsLimit };
  const limit = Object.entries(flags).find(([, value]) => value !== undefined)?.[0];
  const wanted = limit ?? (step.network === "bridge" ? "--network bridge" : undefined);
  if (wanted) throw new Failure("unsupported_host", { detail: `${wanted} needs root` });
}
