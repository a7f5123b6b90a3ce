/** The file of `claimcheck run --plan FILE`: YAML or JSON, paths of this host relative to it. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import * as z from "zod/mini";
import { type Fault, readDocument } from "../broker/access/document.ts";
import { Failure } from "../executor/failure.ts";
import { networks, plainStep, type Step, secretFileDefaults } from "../executor/plan.ts";
import { takeCacheKey } from "../shared/uri.ts";
import { parseCpus, parseDuration, parseMode, parsePids, parseSize } from "./quantities.ts";

const word = z.string().check(z.minLength(1));
/** Of a variable. */
const name = z.string().check(z.regex(/^[^=\0]+$/));
/** With `?cacheKey=`, if wanted. */
const uri = word;

const StepFields = z.strictObject({
  /** What people call it. */
  name: z.optional(word),
  /** The command and its arguments; the image's own without it. */
  args: z.optional(z.array(z.string())),
  entrypoint: z.optional(z.array(z.string())),
  /** `null` takes one of the image's away. */
  env: z.optional(z.record(name, z.nullable(z.string()))),
  secretEnv: z.optional(z.record(name, uri)),
  secretFiles: z.optional(
    z.array(
      z.strictObject({
        path: word,
        uri,
        /** In octal, as text, because YAML has two ways to read 0400. */
        mode: z.optional(z.string()),
        owner: z.optional(word),
      }),
    ),
  ),
  secretStdin: z.optional(uri),
  user: z.optional(word),
  workdir: z.optional(word),
  volumes: z.optional(
    z.array(z.strictObject({ source: word, target: word, readOnly: z._default(z.boolean(), false) })),
  ),
  network: z.optional(z.enum(networks)),
  /** Such as 512m. */
  memory: z.optional(z.string()),
  cpus: z.optional(z.number()),
  pidsLimit: z.optional(z.number()),
  /** Such as 90s. */
  timeout: z.optional(z.string()),
  readOnly: z.optional(z.boolean()),
});

const PlanFile = z.strictObject({
  version: z.literal(1),
  image: word,
  /** One container after the other; each finds what those before it wrote. */
  steps: z.array(StepFields).check(z.minLength(1)),
});

type Fields = z.infer<typeof StepFields>;

/** All faults at once, with their lines. */
export async function readPlanFile(
  path: string,
): Promise<
  { readonly image: string; readonly steps: readonly Step[] } | { readonly faults: readonly Fault[] }
> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new Failure("usage", { detail: `--plan ${path} cannot be read (${cause.code})`, cause });
  });
  const document = readDocument(text, PlanFile);
  if ("faults" in document) return document;
  const faults: Fault[] = [];
  const steps = document.value.steps.map((fields, index) => {
    try {
      return toStep(fields, dirname(path));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      faults.push({ line: document.lineOf(["steps", index]), message: `steps[${index}]: ${error.detail}` });
      return plainStep;
    }
  });
  return faults.length > 0 ? { faults } : { image: document.value.image, steps };
}

/** @throws {Failure} for a quantity that is none. */
function toStep(fields: Fields, folder: string): Step {
  const { args, entrypoint, env = {}, secretEnv = {}, secretFiles = [], secretStdin, volumes = [] } = fields;
  const { name: title, user, workdir, network, memory, cpus, pidsLimit, timeout, readOnly } = fields;
  return {
    ...plainStep,
    ...(title !== undefined && { name: title }),
    ...(args && { args }),
    ...(entrypoint && { entrypoint }),
    env: Object.entries(env),
    secretVariables: Object.entries(secretEnv).map(([variable, from]) => ({
      name: variable,
      source: takeCacheKey(from),
    })),
    secretFiles: secretFiles.map(({ path, uri: from, mode, owner }) => ({
      ...secretFileDefaults,
      path,
      source: takeCacheKey(from),
      ...(mode !== undefined && { mode: parseMode(mode) }),
      ...(owner !== undefined && { owner }),
    })),
    ...(secretStdin !== undefined && { secretInput: takeCacheKey(secretStdin) }),
    binds: volumes.map(({ source, ...rest }) => ({ source: resolve(folder, source), ...rest })),
    ...(network && { network }),
    ...(user !== undefined && { user }),
    ...(workdir !== undefined && { workdir }),
    ...(memory !== undefined && { memory: parseSize(memory) }),
    ...(cpus !== undefined && { cpus: parseCpus(String(cpus)) }),
    ...(pidsLimit !== undefined && { pidsLimit: parsePids(String(pidsLimit)) }),
    ...(timeout !== undefined && { timeout: parseDuration(timeout) }),
    ...(readOnly !== undefined && { readOnly }),
  };
}
