/**
 * What is different for a user who is not root: containers live in a user namespace, where that user's number stands for
 * root and the subordinate ones of /etc/subuid for all others, as with podman and buildah.
 */
import { Failure } from "../../shared/failure.ts";
import type { AnyField } from "../plan/field.ts";
import type { Plan } from "../plan/plan.ts";
import { planFields, planRowOf } from "../plan/plan-table.ts";
import { rowOf, stepFields } from "../plan/step-table.ts";

export const isRootless = (): boolean => process.getuid?.() !== 0;

/** For unshare(1): the namespace, which buildah makes in the same way. */
export const userNamespace = () => (isRootless() ? ["--user", "--map-root-user", "--map-auto"] : []);

/**
 * Only root can divide up the host's network and resources, and read what other users of a container wrote.
 *
 * @throws {Failure} `unsupported_host` rather than run without what was asked for.
 */
export function checkRootless(plan: Plan): void {
  const wanted = [
    ...stepFields.flatMap((field) => plan.steps.map((step) => flagForRoot(rowOf(field), step[field]))),
    ...planFields.map((field) => flagForRoot(planRowOf(field), plan[field])),
  ];
  const flag = wanted.find((each) => each !== undefined);
  if (flag) throw new Failure("unsupported_host", { detail: `${flag} needs root` });
}

/** @returns the flag, where only root can do what it says. */
function flagForRoot({ needsRoot, flag, document }: AnyField, value: unknown): string | undefined {
  if (value === undefined || needsRoot === false) return undefined;
  const name = (typeof flag === "object" && /--[\w-]+/.exec(flag.flags)?.[0]) || document?.name;
  if (needsRoot === true) return name;
  return needsRoot.includes(value as object) ? `${name} ${value}` : undefined;
}
