/**
 * How large a plan may be. Where Linux has a limit it is that one, so that a plan which no container could run is refused
 * before anything of it has run; the rest bounds what somebody else's plan can make this process hold and do.
 */
import { Failure } from "../../shared/failure.ts";
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
/** Bytes of what people call something, and of an image's name, with its registry and digest. */
const name = 256;
const image = 1024;
/** Bytes of a URI, a cache key or a handle: what a broker takes. */
const reference = 8192;

/** @throws {Failure} `invalid_plan`, which repeats nothing that may be large. */
export function checkSizes(plan: PlanFields): void {
  const { registries, steps } = plan;
  const whole = refusing("the plan");
  whole.count("steps", steps.length, stepLimit);
  whole.text("image", plan.image, image);
  for (const field of planFields) whole.field(field, planRowOf(field), (plan as Partial<Plan>)[field]);
  for (const { address, user, password } of registries) {
    whole.text("the address of a registry", address, image);
    whole.text("the user of a registry", user, name);
    checkSource(whole, password);
  }
  const secrets = new Set(registries.map(({ password }) => JSON.stringify(password)));
  for (const [index, step] of steps.entries()) {
    checkStep(refusing(`steps[${index}]`), step);
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
  for (const { source, target } of step.binds) {
    its.path("the source of a volume", source);
    its.path("the target of a volume", target);
  }
  for (const file of step.files) {
    its.path("the path of a file", file.path);
    its.path("the link of a file", file.link);
    its.text("the owner of a file", file.owner, name);
  }
  for (const { name: variable, source } of step.secretVariables) {
    its.text("the name of a variable", variable, argument);
    checkSource(its, source);
  }
  for (const file of step.secretFiles) {
    its.path("the path of a secret file", file.path);
    its.text("the owner of a secret file", file.owner, name);
    checkSource(its, file.source);
  }
  if (step.secretInput) checkSource(its, step.secretInput);
}

function checkSource(its: Refusing, source: SecretSource): void {
  for (const [what, text] of Object.entries(source)) its.text(`the ${what} of a secret`, text, reference);
}

function refusing(whose: string) {
  const refuse = (detail: string): never => {
    throw new Failure("invalid_plan", { detail: `${whose}: ${detail}` });
  };
  const text = (what: string, value: string | undefined, limit: number): number => {
    if (value === undefined) return 0;
    // A character has at most three bytes in UTF-8 for each unit of UTF-16.
    const size = value.length * 3 > limit ? Buffer.byteLength(value) : value.length;
    if (size > limit) refuse(`${what} has ${size} bytes; at most ${limit} are allowed`);
    if (value.includes("\0")) refuse(`${what} has a NUL byte`);
    return size;
  };
  const count = (what: string, length: number, limit: number): void => {
    if (length > limit) refuse(`it has ${length} ${what}; at most ${limit} are allowed`);
  };
  const checkPath = (what: string, value: string | undefined): void => {
    text(what, value, path);
    for (const part of value?.split("/") ?? []) text(`a name in ${what}`, part, pathPart);
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
      else if (bound === "path") checkPath(what, value as string);
      else text(what, value as string, bound === "image" ? image : name);
    },

    /** What a program is started with: Linux copies all of it. */
    together(args: readonly string[], env: Step["env"]): void {
      let size = 0;
      for (const each of args) size += text("an argument", each, argument);
      for (const [variable, value] of env) size += text("a variable", `${variable}=${value ?? ""}`, argument);
      if (size > allArguments) {
        refuse(`its arguments and variables have ${size} bytes; at most ${allArguments} are allowed`);
      }
    },
  };
}
