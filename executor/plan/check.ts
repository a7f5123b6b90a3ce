/** What no form of a plan can rule out by itself: what does not go together, and what cannot be in a container. */
import { Failure } from "../../shared/failure.ts";
import { checkSizes } from "./limits.ts";
import type { Plan, PlanFields, Step } from "./plan.ts";

const part = "[a-z0-9]+(?:[._-]+[a-z0-9]+)*";

/** An image's name as others write it (github.com/distribution/reference), without a digest. */
const imageName = new RegExp(`^(?:[\\w.-]+(?::\\d+)?/)?${part}(?:/${part})*(?::\\w[\\w.-]{0,127})?$`);

/** @throws {Failure} `invalid_plan`. */
export function checkPlan(plan: PlanFields): void {
  const { steps, registries, tag, publish } = plan;
  checkSizes(plan);
  for (const step of steps) checkStep(step);
  checkLogins(registries);
  for (const name of [tag, publish]) {
    if (name !== undefined && !imageName.test(name)) {
      throw new Failure("invalid_plan", { detail: `"${name}" cannot be an image's name` });
    }
  }
}

/** @throws {Failure} `invalid_plan`, which never shows what may be part of a password. */
function checkLogins(registries: Plan["registries"]): void {
  for (const { address, user } of registries) {
    const refuse = (detail: string): never => {
      throw new Failure("invalid_plan", { detail: `the log-in of a registry ${detail}` });
    };
    if (!/^[\w.-]+(:\d+)?(\/[\w./-]+)?$/.test(address))
      refuse("needs its address, such as registry.example:5000");
    if (user === "" || user.includes(":")) refuse("needs the name of a user, without a colon");
  }
}

function checkStep(step: Step): void {
  const refuse = (detail: string): never => {
    throw new Failure("invalid_plan", { detail: step.name ? `step "${step.name}": ${detail}` : detail });
  };
  for (const { path } of step.secretFiles) {
    if (!isPlainPath(path)) refuse(`a secret file needs an absolute path without "." and "..", not ${path}`);
    if (/^\/(proc|sys)\//.test(path)) refuse(`${path} is the kernel's; a secret file goes elsewhere`);
    // What had to be made to mount it on would stay in the host's folder.
    const around = step.binds.find(({ target }) => isWithin(path, target));
    if (around) refuse(`the secret file ${path} would lie in ${around.target}, which is this host's`);
  }
  for (const { target } of step.binds) {
    if (!isPlainPath(target))
      refuse(`a bind mount needs an absolute path without "." and "..", not ${target}`);
  }
  for (const { path } of step.files) {
    if (!isPlainPath(path)) refuse(`a file needs an absolute path without "." and "..", not ${path}`);
  }
  const mounted = new Set<string>();
  for (const target of [
    ...step.secretFiles.map(({ path }) => path),
    ...step.binds.map((bind) => bind.target),
  ]) {
    if (mounted.has(target)) refuse(`${target} appears twice`);
    mounted.add(target);
  }
  if (step.workdir !== undefined && !step.workdir.startsWith("/"))
    refuse(`the folder ${step.workdir} is not absolute`);
  if (step.interactive && step.secretInput) refuse("standard input cannot be a secret and interactive");
  // It would echo it, and take some bytes of it for keys such as Ctrl-C.
  if (step.terminal && step.secretInput) refuse("a terminal does not pass on a secret as it is");
}

/** Without a new text for each comparison: there may be many, of long paths. */
const isWithin = (path: string, folder: string) =>
  path.startsWith(folder) && (path.length === folder.length || path[folder.length] === "/");

const isPlainPath = (path: string) => /^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/.test(path);
