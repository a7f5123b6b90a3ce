/**
 * What is different for a user who is not root: containers live in a user namespace, where that user's number stands for
 * root and the subordinate ones of /etc/subuid for all others, as with podman and buildah.
 */
import { Failure } from "../../shared/failure.ts";
import type { Plan } from "../plan/plan.ts";

export const isRootless = process.getuid?.() !== 0;

/** For unshare(1): the namespace, which buildah makes in the same way. */
export const userNamespace = isRootless ? ["--user", "--map-root-user", "--map-auto"] : [];

/**
 * Only root can divide up the host's network and resources, and read what other users of a container wrote.
 *
 * @throws {Failure} `unsupported_host` rather than run without what was asked for.
 */
export function checkRootless({ steps, onLeak, tag, publish, storage }: Plan): void {
  const wanted = {
    "--memory": steps.some(({ memory }) => memory !== undefined),
    "--cpus": steps.some(({ cpus }) => cpus !== undefined),
    "--pids-limit": steps.some(({ pidsLimit }) => pidsLimit !== undefined),
    "--network bridge": steps.some(({ network }) => network === "bridge"),
    "--on-leak": onLeak !== undefined,
    "--tag": tag !== undefined,
    "--publish": publish !== undefined,
    "--storage-opt": storage !== undefined,
  };
  const flag = Object.entries(wanted).find(([, isWanted]) => isWanted)?.[0];
  if (flag) throw new Failure("unsupported_host", { detail: `${flag} needs root` });
}
