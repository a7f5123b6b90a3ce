/**
 * How large a plan may be. Where Linux has a limit it is that one, so that a plan which no container could run is refused
 * before anything of it has run; the rest bounds what somebody else's plan can make this process hold and do.
 */
import { Failure } from "../../shared/failure.ts";
import type { Path } from "../../shared/field-path.ts";
import { type Report, throwFault } from "./faults.ts";
import type { AnyField } from "./field.ts";
import { type Plan, type PlanFields, type SecretSource, type Step, secretsOf } from "./plan.ts";
import { planFields, planRowOf } from "./plan-table.ts";
import { rowOf, stepFields } from "./step-table.ts";

/** Each step has a layer on those before it, and this many go on one page with their names, of the usual image. */
export const stepLimit = 400;

/** Layers that Linux stacks (OVL_MAX_STACK, fs/overlayfs), and bytes of all their names together: a page. */
const stackLimit = 500;
const pageSize = 4095;
/** What supervisor.pl writes there beside the names of the layers, in bytes, with room for a little more. */
const mountOptions = 150;

/** Different ones: as many as a broker gives handles for at once. */
const secretLimit = 1000;

/** Bytes of one argument or variable (MAX_ARG_STRLEN, execve(2)), of all together, of a path, and of a name in it. */
const argument = 128 * 1024 - 1;
const allArguments = 2 * 1024 * 1024;
const path = 4095;
const pathPart = 255;
/** Bytes of what people call something, and of a user's name. */
const name = 256;
/** Bytes of an image's name, with its registry and digest. */
const image = 1024;
/** Bytes of a URI, a cache key or a handle: what a broker takes. */
const reference = 8192;

/** What it reports repeats nothing that may be large. */
export function checkSizes(plan: PlanFields, report: Report = throwFault): void {
  const { registries, steps } = plan;
  const whole = refusing("the plan", [], report);
  whole.count("steps", steps.length, stepLimit);
  whole.text(["image"], "image", plan.image, image);
  for (const field of planFields) whole.field(field, planRowOf(field), (plan as Partial<Plan>)[field]);
  for (const [index, { address, user, password }] of registries.entries()) {
    const at = ["registryAuth", index];
    whole.text([...at, "address"], "the address of a registry", address, image);
    whole.text([...at, "user"], "the user of a registry", user, name);
    checkSource(whole, [...at, "password"], password);
  }
  const secrets = new Set(registries.map(({ password }) => JSON.stringify(password)));
  for (const [index, step] of steps.entries()) {
    checkStep(refusing(`steps[${index}]`, ["steps", index], report), step);
    for (const { source } of secretsOf(step)) secrets.add(JSON.stringify(source));
  }
  whole.count("secrets", secrets.size, secretLimit);
}

/**
 * What only the image can tell: its layers lie below those of all steps.
 *
 * @throws {Failure} `invalid_plan`.
 */
export function checkStack(layers: readonly string[], steps: number): void {
  // As supervisor.pl calls them.
  const names = [
    ...layers.map((_, index) => `/l/${index}`),
    ...Array.from({ length: steps - 1 }, (_, index) => `${index + 1}/upper`),
  ];
  const size = names.reduce((sum, each) => sum + Buffer.byteLength(each) + 1, 0);
  if (steps === 1 || (names.length <= stackLimit && size + mountOptions <= pageSize)) return;
  throw new Failure("invalid_plan", {
    detail: `the plan: it has ${steps} steps, more than Linux can stack on this image; make it several plans`,
  });
}

type Refusing = ReturnType<typeof refusing>;

function checkStep(its: Refusing, step: Step): void {
  for (const field of stepFields) its.field(field, rowOf(field), step[field]);
  its.together([...step.args, ...(step.entrypoint ?? [])], step.env);
  for (const [nth, { source, target }] of step.binds.entries()) {
    its.path(["volumes", nth, "source"], "the source of a volume", source);
    its.path(["volumes", nth, "target"], "the target of a volume", target);
  }
  for (const [nth, file] of step.files.entries()) {
    its.path(["files", nth, "path"], "the path of a file", file.path);
    its.path(["files", nth, "link"], "the link of a file", file.link);
    its.text(["files", nth, "owner"], "the owner of a file", file.owner, name);
  }
  for (const { name: variable, source } of step.secretVariables) {
    its.text(["secretEnv"], "the name of a variable", variable, argument);
    checkSource(its, ["secretEnv", variable], source);
  }
  for (const [nth, file] of step.secretFiles.entries()) {
    its.path(["secretFiles", nth, "path"], "the path of a secret file", file.path);
    its.text(["secretFiles", nth, "owner"], "the owner of a secret file", file.owner, name);
    checkSource(its, ["secretFiles", nth], file.source);
  }
  if (step.secretInput) checkSource(its, ["secretStdin"], step.secretInput);
}

function checkSource(its: Refusing, at: Path, source: SecretSource): void {
  for (const [what, text] of Object.entries(source)) its.text(at, `the ${what} of a secret`, text, reference);
}

/** @param place what the paths begin with. */
function refusing(whose: string, place: Path, report: Report) {
  const refuse = (at: Path, detail: string) => report([...place, ...at], detail, whose);
  const text = (at: Path, what: string, value: string | undefined, limit: number): number => {
    if (value === undefined) return 0;
    // A character has at most three bytes in UTF-8 for each unit of UTF-16.
    const size = value.length * 3 > limit ? Buffer.byteLength(value) : value.length;
    if (size > limit) refuse(at, `${what} has ${size} bytes; at most ${limit} are allowed`);
    if (value.includes("\0")) refuse(at, `${what} has a NUL byte`);
    return size;
  };
  const count = (field: string, length: number, limit: number): void => {
    if (length > limit) refuse([field], `it has ${length} ${field}; at most ${limit} are allowed`);
  };
  const checkPath = (at: Path, what: string, value: string | undefined): void => {
    text(at, what, value, path);
    for (const part of value?.split("/") ?? []) text(at, `a name in ${what}`, part, pathPart);
  };
  return {
    text,
    count,
    path: checkPath,

    /** By its row, and by the name in a document, which is what its writer knows. */
    field(field: string, { bound, document }: AnyField, value: unknown): void {
      const what = document?.name ?? field;
      if (value === undefined || bound === undefined) return;
      if (typeof bound === "number") count(what, (value as readonly unknown[]).length, bound);
      else if (bound === "path") checkPath([what], what, value as string);
      else text([what], what, value as string, bound === "image" ? image : name);
    },

    /** What a program is started with: Linux copies all of it. */
    together(args: readonly string[], env: Step["env"]): void {
      let size = 0;
      for (const each of args) size += text(["args"], "an argument", each, argument);
      for (const [variable, value] of env)
        size += text(["env", variable], "a variable", `${variable}=${value ?? ""}`, argument);
      if (size > allArguments) {
        refuse(
          ["args"],
          `its arguments and variables have ${size} bytes; at most ${allArguments} are allowed`,
        );
      }
    },
  };
}
