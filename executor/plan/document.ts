/** The plan as a document, which is what every front end makes. This is its one definition. */
import * as z from "zod/mini";
import { described } from "../../shared/described.ts";
import { Failure } from "../../shared/failure.ts";
import { record } from "../../shared/record.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import { type ReadField, readOrThrow } from "./faults.ts";
import { PlacedFileFields, toPlacedFiles } from "./placed-files.ts";
import {
  leakActions,
  networks,
  type Plan,
  plainStep,
  type SecretSource,
  type Step,
  secretFileDefaults,
} from "./plan.ts";
import { named, parseCpus, parseDuration, parseMemory, parseMode, parsePids } from "./quantities.ts";
import { toStorage } from "./storage.ts";

const word = z.string().check(z.minLength(1));
/** Of a variable. */
const name = z.string().check(z.regex(/^[^=\0]+$/));

const handle = described(
  word,
  "A handle that was issued before: a compact JWS, or the name of one that is given beside the plan.",
);

const value = described(
  word,
  "The name of a value that is given beside the plan, and wrapped at the broker.",
);

const cacheKey = described(word, "The name that stands for the value in caches.");

const SecretReference = z.union(
  [word, z.strictObject({ uri: word, cacheKey }), z.strictObject({ handle }), z.strictObject({ value })],
  { error: "write a URI, { uri: …, cacheKey: … }, { handle: … } or { value: … }" },
);

const SecretFileFields = z.strictObject({
  path: described(word, "The path in the container."),
  uri: z.optional(described(word, "The secret's, with ?cacheKey= if wanted; or instead of it:")),
  cacheKey: z.optional(cacheKey),
  handle: z.optional(handle),
  value: z.optional(value),
  // As text, because YAML has two ways to read 0400.
  mode: z.optional(described(z.string(), "Permissions, as text in octal; 0400 by default.")),
  owner: z.optional(described(word, "USER[:GROUP], by name or number; root by default.")),
});

const StepFields = z.strictObject({
  name: z.optional(described(word, "The step's name.")),
  args: z.optional(
    described(z.array(z.string()), "The command and its arguments; the image's own without it."),
  ),
  entrypoint: z.optional(
    described(z.array(z.string()), "Instead of the image's; an empty list takes it away."),
  ),
  env: z.optional(
    described(record(name, z.nullable(z.string())), "Variables; null takes one of the image's away."),
  ),
  secretEnv: z.optional(
    described(
      record(name, SecretReference),
      "Secrets as variables: their URIs, with ?cacheKey= if wanted, handles or values.",
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
          target: described(word, "The path in the container."),
          readOnly: z.optional(
            described(z.boolean(), "Whether the container can only read it; no by default."),
          ),
        }),
      ),
      "Files and folders of the host that the container shares.",
    ),
  ),
  files: z.optional(
    described(
      z.array(PlacedFileFields),
      "Files, folders and links that are put among the container's own before the command runs, in this order.",
    ),
  ),
  network: z.optional(
    described(z.enum(networks), "The network that the container can reach; none by default."),
  ),
  memory: z.optional(described(z.string(), "The memory limit, for example 512m.")),
  cpus: z.optional(described(z.number(), "The number of CPUs, for example 1.5.")),
  pidsLimit: z.optional(described(z.number(), "The maximum number of processes; 2048 by default.")),
  timeout: z.optional(described(z.string(), "The time limit, for example 90s.")),
  readOnly: z.optional(described(z.boolean(), "Whether the container can only read its files.")),
  init: z.optional(
    described(
      z.boolean(),
      "Whether process 1 is an init that takes in what others leave behind; the command is process 1 with false.",
    ),
  ),
});

export const wants = ["stdout", "stderr", "exitCode", "sync"] as const;
export type Want = (typeof wants)[number];

export const PlanDocument = described(
  z.strictObject({
    version: described(z.literal(1), "The version of this format."),
    image: described(word, "As podman and docker name images."),
    registryAuth: z.optional(
      described(
        z.array(
          z.strictObject({
            address: described(word, "The registry's, such as registry.example:5000."),
            user: described(word, "The user name for the log-in."),
            password: described(SecretReference, "The secret's URI, { handle: … } or { value: … }."),
          }),
        ),
        "The log-ins at registries, for private images.",
      ),
    ),
    steps: described(
      z.array(StepFields).check(z.minLength(1)),
      "The steps, one container each; each step sees the files of the steps before it.",
    ),
    want: z.optional(
      described(
        z.enum(wants),
        "What the run returns of the last step: its output, its exit code, or nothing. By default all output is passed on.",
      ),
    ),
    onLeak: z.optional(
      described(
        z.enum(leakActions),
        "Search the files that steps leave for values; on a find, fail, keep nothing or only tell.",
      ),
    ),
    tag: z.optional(described(word, "The name on this host of the image that the steps make.")),
    publish: z.optional(
      described(word, "The full name, with the registry's address, that the image is pushed to."),
    ),
    storage: z.optional(
      described(
        z.strictObject({
          size: described(z.string(), "The maximum size, for example 10g."),
          inodes: z.optional(
            described(
              z.number(),
              "The maximum number of files, folders and links; one for each 16k of the size by default.",
            ),
          ),
        }),
        "What all steps together may write into their containers' files; a command that writes more gets ENOSPC.",
      ),
    ),
  }),
  "What Claimcheck runs: steps on one image.",
);

export type PlanDocument = z.infer<typeof PlanDocument>;

/** JSON Schema 2020-12, for editors and front ends: what may be written, defaults left out. */
export function planSchema(): object {
  return z.toJSONSchema(PlanDocument, { io: "input" });
}

/** What a document says of all its steps. */
export const generalOf = (
  { image, onLeak, tag, publish, storage, registryAuth = [] }: PlanDocument,
  read: ReadField = readOrThrow,
): General => ({
  image,
  registries: registryAuth.map(({ password, ...rest }, index) => ({
    ...rest,
    password: read(["registryAuth", index, "password"], () => sourceOf(password), noSource),
  })),
  ...(onLeak && { onLeak }),
  ...(tag !== undefined && { tag }),
  ...(publish !== undefined && { publish }),
  ...(storage && {
    storage: read(["storage"], () => named("storage", toStorage)(storage), { size: 0 }),
  }),
});

type General = Pick<Plan, "image" | "registries" | "onLeak" | "tag" | "publish" | "storage">;

/**
 * @param fields one of a document's steps.
 * @param toSource makes a path of the host of a volume's `source`.
 * @param read collects faults; without it the first one is thrown.
 * @throws {Failure} `usage` for a quantity that is none.
 */
export function toStep(
  fields: PlanDocument["steps"][number],
  toSource: (path: string) => string = (path) => path,
  read: ReadField = readOrThrow,
): Step {
  const { args, entrypoint, env = {}, secretEnv = {}, secretFiles = [], secretStdin, volumes = [] } = fields;
  const { files = [] } = fields;
  const { name: title, user, workdir, network, memory, cpus, pidsLimit, timeout, readOnly, init } = fields;
  const quantity = <T>(field: string, parse: (text: string) => T, text: string, otherwise: T) =>
    read([field], () => named(field, parse)(text), otherwise);
  return {
    ...plainStep,
    ...(title !== undefined && { name: title }),
    ...(args && { args }),
    ...(entrypoint && { entrypoint }),
    env: Object.entries(env),
    secretVariables: Object.entries(secretEnv).map(([variable, reference]) => ({
      name: variable,
      source: read(["secretEnv", variable], () => sourceOf(reference), noSource),
    })),
    secretFiles: secretFiles.map(({ path, mode, owner, ...reference }, index) => ({
      ...secretFileDefaults,
      path,
      source: read(["secretFiles", index], () => sourceOf(whichOf(path, reference)), noSource),
      ...(mode !== undefined && {
        mode: read(
          ["secretFiles", index, "mode"],
          () => named("mode", parseMode)(mode),
          secretFileDefaults.mode,
        ),
      }),
      ...(owner !== undefined && { owner }),
    })),
    ...(secretStdin !== undefined && {
      secretInput: read(["secretStdin"], () => sourceOf(secretStdin), noSource),
    }),
    files: toPlacedFiles(files, read),
    binds: volumes.map(({ source, target, readOnly: only = false }) => ({
      source: toSource(source),
      target,
      readOnly: only,
    })),
    ...(network && { network }),
    ...(user !== undefined && { user }),
    ...(workdir !== undefined && { workdir }),
    ...(memory !== undefined && { memory: quantity("memory", parseMemory, memory, 0) }),
    ...(cpus !== undefined && { cpus: quantity("cpus", parseCpus, String(cpus), 0) }),
    ...(pidsLimit !== undefined && { pidsLimit: quantity("pidsLimit", parsePids, String(pidsLimit), 0) }),
    ...(timeout !== undefined && { timeout: quantity("timeout", parseDuration, timeout, 0) }),
    ...(readOnly !== undefined && { readOnly }),
    ...(init !== undefined && { init }),
  };
}

/** In the place of one that is at fault. */
const noSource: SecretSource = { value: "" };

const sourceOf = (reference: z.infer<typeof SecretReference>): SecretSource =>
  typeof reference === "string" ? takeCacheKey(reference) : reference;

type References = Pick<z.infer<typeof SecretFileFields>, "uri" | "cacheKey" | "handle" | "value">;

function whichOf(
  path: string,
  { uri, cacheKey, handle, value }: References,
): z.infer<typeof SecretReference> {
  if (cacheKey !== undefined && uri === undefined) {
    throw new Failure("usage", { detail: `the secret file ${path} has a cacheKey for no uri` });
  }
  const given = [
    ...(uri === undefined ? [] : [cacheKey === undefined ? uri : { uri, cacheKey }]),
    ...(handle === undefined ? [] : [{ handle }]),
    ...(value === undefined ? [] : [{ value }]),
  ];
  const [only] = given;
  if (only !== undefined && given.length === 1) return only;
  throw new Failure("usage", { detail: `the secret file ${path} needs one of uri, handle and value` });
}

/** The same document with other handles in it. */
export function mapHandles(document: PlanDocument, change: (handle: string) => string): PlanDocument {
  const changed = <Reference extends object | string>(reference: Reference): Reference =>
    typeof reference === "object" && "handle" in reference && typeof reference.handle === "string"
      ? { ...reference, handle: change(reference.handle) }
      : reference;
  return {
    ...document,
    ...(document.registryAuth && {
      registryAuth: document.registryAuth.map(({ password, ...rest }) => ({
        ...rest,
        password: changed(password),
      })),
    }),
    steps: document.steps.map((step) => ({
      ...step,
      ...(step.secretEnv && {
        secretEnv: Object.fromEntries(
          Object.entries(step.secretEnv).map(([variable, reference]) => [variable, changed(reference)]),
        ),
      }),
      ...(step.secretFiles && { secretFiles: step.secretFiles.map(changed) }),
      ...(step.secretStdin !== undefined && { secretStdin: changed(step.secretStdin) }),
    })),
  };
}
