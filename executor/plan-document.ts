/** The plan as a document, which is what every front end makes. This is its one definition. */
import * as z from "zod/mini";
import { takeCacheKey } from "../shared/uri.ts";
import { Failure } from "./failure.ts";
import {
  leakActions,
  networks,
  plainStep,
  type SecretSource,
  type Step,
  secretFileDefaults,
} from "./plan.ts";
import { parseCpus, parseDuration, parseMode, parsePids, parseSize } from "./quantities.ts";

const word = z.string().check(z.minLength(1));
const described = <Schema extends z.ZodMiniType>(schema: Schema, description: string): Schema =>
  schema.check(z.describe(description)) as Schema;

/** Of a variable. */
const name = z.string().check(z.regex(/^[^=\0]+$/));

const handle = described(word, "A handle that was issued before: a compact JWS.");

const SecretReference = z.union([word, z.strictObject({ handle })], { error: "a URI, or { handle: … }" });

const SecretFileFields = z.strictObject({
  path: described(word, "Where the container finds it."),
  uri: z.optional(described(word, "The secret's, with ?cacheKey= if wanted.")),
  handle: z.optional(
    described(handle, "Instead of the URI: a handle that was issued before, a compact JWS."),
  ),
  // As text, because YAML has two ways to read 0400.
  mode: z.optional(described(z.string(), "Permissions, as text in octal; 0400 by default.")),
  owner: z.optional(described(word, "USER[:GROUP], by name or number; root by default.")),
});

const StepFields = z.strictObject({
  name: z.optional(described(word, "What people call the step.")),
  args: z.optional(
    described(z.array(z.string()), "The command and its arguments; the image's own without it."),
  ),
  entrypoint: z.optional(
    described(z.array(z.string()), "Instead of the image's; an empty list takes it away."),
  ),
  env: z.optional(
    described(z.record(name, z.nullable(z.string())), "Variables; null takes one of the image's away."),
  ),
  secretEnv: z.optional(
    described(
      z.record(name, SecretReference),
      "Secrets as variables: their URIs, with ?cacheKey= if wanted, or handles.",
    ),
  ),
  secretFiles: z.optional(described(z.array(SecretFileFields), "Secrets as files, in memory.")),
  secretStdin: z.optional(described(SecretReference, "A secret that the command reads from standard input.")),
  user: z.optional(described(word, "USER[:GROUP], by name or number.")),
  workdir: z.optional(described(word, "The folder that the command runs in.")),
  volumes: z.optional(
    described(
      z.array(
        z.strictObject({
          source: described(word, "On the host; in a plan file, relative to where that lies."),
          target: described(word, "In the container."),
          readOnly: described(z._default(z.boolean(), false), "Whether the container can only read it."),
        }),
      ),
      "Files and folders of the host that the container shares.",
    ),
  ),
  network: z.optional(described(z.enum(networks), "What the container can reach; none by default.")),
  memory: z.optional(described(z.string(), "Such as 512m.")),
  cpus: z.optional(described(z.number(), "Such as 1.5.")),
  pidsLimit: z.optional(described(z.number(), "Of processes; 2048 by default.")),
  timeout: z.optional(described(z.string(), "Such as 90s.")),
  readOnly: z.optional(described(z.boolean(), "Whether the container can only read its files.")),
});

export const PlanDocument = described(
  z.strictObject({
    version: described(z.literal(1), "Of this format."),
    image: described(word, "As podman and docker name images."),
    steps: described(
      z.array(StepFields).check(z.minLength(1)),
      "One container after the other; each finds what those before it wrote.",
    ),
    onLeak: z.optional(
      described(
        z.enum(leakActions),
        "Search the files that steps leave for values; on a find, fail, keep nothing or only tell.",
      ),
    ),
    tag: z.optional(described(word, "What the image that the steps make is to be called on this host.")),
    publish: z.optional(described(word, "Where that image is pushed: its name, with the registry's.")),
  }),
  "What Claimcheck runs: steps on one image.",
);

export type PlanDocument = z.infer<typeof PlanDocument>;

/** JSON Schema 2020-12, for editors and front ends: what may be written, defaults left out. */
export function planSchema(): object {
  return z.toJSONSchema(PlanDocument, { io: "input" });
}

/**
 * @param fields one of a document's steps.
 * @param toSource makes a path of the host of a volume's `source`.
 * @throws {Failure} `usage` for a quantity that is none.
 */
export function toStep(
  fields: PlanDocument["steps"][number],
  toSource: (path: string) => string = (path) => path,
): Step {
  const { args, entrypoint, env = {}, secretEnv = {}, secretFiles = [], secretStdin, volumes = [] } = fields;
  const { name: title, user, workdir, network, memory, cpus, pidsLimit, timeout, readOnly } = fields;
  return {
    ...plainStep,
    ...(title !== undefined && { name: title }),
    ...(args && { args }),
    ...(entrypoint && { entrypoint }),
    env: Object.entries(env),
    secretVariables: Object.entries(secretEnv).map(([variable, reference]) => ({
      name: variable,
      source: sourceOf(reference),
    })),
    secretFiles: secretFiles.map(({ path, mode, owner, ...reference }) => ({
      ...secretFileDefaults,
      path,
      source: sourceOf(whichOf(path, reference)),
      ...(mode !== undefined && { mode: parseMode(mode) }),
      ...(owner !== undefined && { owner }),
    })),
    ...(secretStdin !== undefined && { secretInput: sourceOf(secretStdin) }),
    binds: volumes.map(({ source, ...rest }) => ({ source: toSource(source), ...rest })),
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

const sourceOf = (reference: z.infer<typeof SecretReference>): SecretSource =>
  typeof reference === "string" ? takeCacheKey(reference) : reference;

function whichOf(path: string, { uri, handle }: { uri?: string | undefined; handle?: string | undefined }) {
  if (uri !== undefined && handle === undefined) return uri;
  if (handle !== undefined && uri === undefined) return { handle };
  throw new Failure("usage", { detail: `the secret file ${path} needs either a uri or a handle` });
}
