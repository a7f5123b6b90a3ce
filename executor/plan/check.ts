/** What no form of a plan can rule out by itself: what does not go together, and what cannot be in a container. */
import type { Path } from "../../shared/field-path.ts";
import { type Report, throwFault } from "./faults.ts";
import { checkSizes } from "./limits.ts";
import type { Plan, PlanFields, Step } from "./plan.ts";

const part = "[a-z0-9]+(?:[._-]+[a-z0-9]+)*";

/** An image's name as others write it (github.com/distribution/reference), without a digest. */
const imageName = new RegExp(`^(?:[\\w.-]+(?::\\d+)?/)?${part}(?:/${part})*(?::\\w[\\w.-]{0,127})?$`);

/**
 * @param report is told every fault; without it the first one is thrown.
 * @throws {Failure} `invalid_plan`.
 */
export function checkPlan(plan: PlanFields, report: Report = throwFault): void {
  const { steps, registries, tag, publish } = plan;
  checkSizes(plan, report);
  for (const [index, step] of steps.entries()) checkStep(step, index, report);
  checkLogins(registries, report);
  for (const [field, name] of Object.entries({ tag, publish })) {
    if (name !== undefined && !imageName.test(name)) report([field], `"${name}" cannot be an image's name`);
  }
}

/** What it reports never shows what may be part of a password. */
function checkLogins(registries: Plan["registries"], report: Report): void {
  for (const [index, { address, user }] of registries.entries()) {
    const refuse = (field: string, detail: string) =>
      report(["registryAuth", index, field], `the log-in of a registry ${detail}`);
    if (!/^[\w.-]+(:\d+)?(\/[\w./-]+)?$/.test(address))
      refuse("address", "needs its address, such as registry.example:5000");
    if (user === "" || user.includes(":")) refuse("user", "needs the name of a user, without a colon");
  }
}

function checkStep(step: Step, index: number, report: Report): void {
  const whose = step.name ? `step "${step.name}"` : undefined;
  const refuse = (at: Path, detail: string) => report(["steps", index, ...at], detail, whose);
  for (const [nth, { path }] of step.secretFiles.entries()) {
    const at = ["secretFiles", nth, "path"];
    if (!isPlainPath(path))
      refuse(at, `a secret file needs an absolute path without "." and "..", not ${path}`);
    if (/^\/(proc|sys)\//.test(path))
      refuse(at, `${path} is in a folder of the kernel; a secret file needs another folder`);
    // What had to be made to mount it on would stay in the host's folder.
    const around = step.binds.find(({ target }) => isWithin(path, target));
    if (around) {
      refuse(
        at,
        `the secret file ${path} would be in ${around.target}, a folder of this host; choose a path outside it`,
      );
    }
  }
  for (const [nth, { target }] of step.binds.entries()) {
    if (!isPlainPath(target))
      refuse(
        ["volumes", nth, "target"],
        `a bind mount needs an absolute path without "." and "..", not ${target}`,
      );
  }
  for (const [nth, { path }] of step.files.entries()) {
    if (!isPlainPath(path))
      refuse(["files", nth, "path"], `a file needs an absolute path without "." and "..", not ${path}`);
  }
  const mounted = new Set<string>();
  const mount = (at: Path, target: string) => {
    if (mounted.has(target)) refuse(at, `${target} appears twice`);
    mounted.add(target);
  };
  for (const [nth, { path }] of step.secretFiles.entries()) mount(["secretFiles", nth, "path"], path);
  for (const [nth, { target }] of step.binds.entries()) mount(["volumes", nth, "target"], target);
  if (step.workdir !== undefined && !step.workdir.startsWith("/"))
    refuse(["workdir"], `the folder ${step.workdir} is not absolute`);
  if (step.interactive && step.secretInput)
    refuse(["secretStdin"], "standard input is either a secret or interactive; remove one of the two");
  // It would echo it, and take some bytes of it for keys such as Ctrl-C.
  if (step.terminal && step.secretInput)
    refuse(["secretStdin"], "a terminal would change a secret on standard input; remove the terminal (-t)");
}

/** Without a new text for each comparison: there may be many, of long paths. */
const isWithin = (path: string, folder: string) =>
  path.startsWith(folder) && (path.length === folder.length || path[folder.length] === "/");

const isPlainPath = (path: string) => /^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/.test(path);
