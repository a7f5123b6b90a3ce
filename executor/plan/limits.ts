/**
 * How large a plan may be. Where Linux has a limit it is that one, so that a plan which no container could run is refused
 * before anything of it has run; the rest bounds what somebody else's plan can make this process hold and do.
 */
import { Failure } from "../../shared/failure.ts";
import { type Plan, type SecretSource, type Step, secretsOf } from "./plan.ts";
import { rowOf } from "./step-table.ts";

/** Each step has a layer on those before it, and this many go on one page with their names, of the usual image. */
export const stepLimit = 400;

/** Layers that Linux stacks (OVL_MAX_STACK, fs/overlayfs), and bytes of all their names together: a page. */
const stackLimit = 500;
const pageSize = 4095;
/** What supervisor.pl writes there beside the names of the layers, in bytes, with room for a little more. */
const mountOptions = 150;

/** Every list of a step is here, or this does not compile. */
const counts = {
  args: 100_000,
  entrypoint: 100_000,
  env: 10_000,
  binds: 256,
  files: 10_000,
  secretVariables: 1000,
  secretFiles: 1000,
} as const satisfies Record<Lists, number>;

/** So is every text. */
const texts = { name: "text", user: "text", workdir: "path" } as const satisfies Record<
  Texts,
  "text" | "path"
>;

type Lists = {
  [Name in keyof Step]-?: NonNullable<Step[Name]> extends readonly unknown[] ? Name : never;
}[keyof Step];
type Texts = { [Name in keyof Step]-?: string extends NonNullable<Step[Name]> ? Name : never }[keyof Step];

/** Different ones: as many as a broker gives handles for at once. */
const secretLimit = 1000;
const registryLimit = 100;

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

type Plain = Pick<Plan, "image" | "registries" | "steps" | "tag" | "publish">;

/** @throws {Failure} `invalid_plan`, which repeats nothing that may be large. */
export function checkSizes({ image: from, registries, steps, tag, publish }: Plain): void {
  const whole = refusing("the plan");
  whole.count("steps", steps.length, stepLimit);
  whole.count("registryAuth", registries.length, registryLimit);
  for (const [what, text] of Object.entries({ image: from, tag, publish })) whole.text(what, text, image);
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
  for (const field of Object.keys(counts) as (keyof typeof counts)[]) {
    // What a document calls it, which is what its writer knows.
    const all = step[field];
    if (all) its.count(rowOf(field).document?.name ?? field, all.length, counts[field]);
  }
  for (const field of Object.keys(texts) as (keyof typeof texts)[]) {
    if (texts[field] === "path") its.path(field, step[field]);
    else its.text(field, step[field], name);
  }
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
  return {
    text,

    count(what: string, length: number, limit: number): void {
      if (length > limit) refuse(`it has ${length} ${what}; at most ${limit} are allowed`);
    },

    path(what: string, value: string | undefined): void {
      text(what, value, path);
      for (const part of value?.split("/") ?? []) text(`a name in ${what}`, part, pathPart);
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
