/** What to run: one base image, and one container after the other on it. */
import { Failure } from "../../shared/failure.ts";
import { checkSizes } from "./limits.ts";
import type { PlacedFile } from "./placed-files.ts";

/**
 * A secret by its URI, for which a handle is asked; by a handle that somebody else was given, a compact JWS; or by the
 * name of a value that is given beside the plan.
 */
export type SecretSource =
  | { readonly uri: string; readonly cacheKey?: string }
  | { readonly handle: string }
  | { readonly value: string };

export interface SecretVariable {
  /** Of the environment variable. */
  readonly name: string;
  readonly source: SecretSource;
}

export interface SecretFile {
  /** The path in the container. */
  readonly path: string;
  readonly source: SecretSource;
  readonly mode: number;
  /** Docker's `user[:group]`, as the container's own files know them. */
  readonly owner: string;
}

export interface BindMount {
  /** On this host. */
  readonly source: string;
  /** The path in the container. */
  readonly target: string;
  readonly readOnly: boolean;
  /** A folder around the source, if no link below it is to be followed on the way there. */
  readonly within?: string;
  /** As which user and group of the host's the step's user reads and writes there; "nobody" as none of them. */
  readonly owner?: { readonly uid: number; readonly gid: number } | "nobody";
}

export const networks = ["none", "host", "bridge"] as const;
export type Network = (typeof networks)[number];

/** When a step left a value in its files: the run fails; nothing of it is kept; somebody is told. */
export const leakActions = ["fail", "no-cache", "warn"] as const;
export type LeakAction = (typeof leakActions)[number];

/** What all steps of a run together may write into their containers' files. */
export interface Storage {
  /** In bytes. */
  readonly size: number;
  /** Files, folders and links; as many as are usual for the size where there is none. */
  readonly inodes?: number;
}

export interface Step {
  /** What people call it. */
  readonly name?: string;
  /** The command; the image's own where it is empty. */
  readonly args: readonly string[];
  /** Instead of the image's; an empty one takes the image's away. */
  readonly entrypoint?: readonly string[];
  /** Beside the image's variables and over them; `null` takes one of them away. */
  readonly env: readonly (readonly [name: string, value: string | null])[];
  /** Docker's `user[:group]`; the image's where there is none. */
  readonly user?: string;
  readonly workdir?: string;
  readonly binds: readonly BindMount[];
  /** Put among the container's files before the command runs, one after the other; later steps find them too. */
  readonly files: readonly PlacedFile[];
  readonly network: Network;
  /** In bytes. */
  readonly memory?: number;
  readonly cpus?: number;
  readonly pidsLimit?: number;
  /** In seconds, from the order for its container until what it left has been looked at. */
  readonly timeout?: number;
  /** Whether the container can only read its files. */
  readonly readOnly: boolean;
  /** Whether process 1 is an init of ours, and not the command. */
  readonly init: boolean;
  /** They win over `env`. */
  readonly secretVariables: readonly SecretVariable[];
  readonly secretFiles: readonly SecretFile[];
  /** What the command reads from its standard input. */
  readonly secretInput?: SecretSource;
  /** Whether the command reads what this process does. */
  readonly interactive: boolean;
  /** Whether the command runs in a terminal of its own. */
  readonly terminal: boolean;
}

/** What a registry asks for before it gives out an image. */
export interface RegistryLogin {
  /** Of a registry, or of a part of it: `registry.example:5000/team`. */
  readonly address: string;
  readonly user: string;
  readonly password: SecretSource;
}

/** Of a value of less than 4 bytes: refuse to run with it, or let it show in the output. */
export type ShortSecrets = "refuse" | "show";

export interface Plan {
  readonly image: string;
  /** For pulling the image, if that has to be. */
  readonly registries: readonly RegistryLogin[];
  readonly steps: readonly Step[];
  /** Of its document (hash.ts), where it has one: what handles for one plan are compared with. */
  readonly hash?: string;
  /** Whether known values are masked in what the commands print. */
  readonly masked: boolean;
  /** What to do about a value of 1 to 3 bytes, which cannot be masked without wrecking the output. */
  readonly shortSecrets: ShortSecrets;
  /** What to do when a step leaves a value in its files. Where this is not said, only what is kept is searched. */
  readonly onLeak?: LeakAction;
  /** The name on this host of the image that the steps make. */
  readonly tag?: string;
  /** Where that image is pushed: a name with the registry's. */
  readonly publish?: string;
  /** No limit but the host's own without it. */
  readonly storage?: Storage;
}

/** What whoever writes a plan says; the rest is said by who runs it. */
export type PlanFields = Omit<Plan, "masked" | "shortSecrets">;

/** Whether what the steps leave becomes an image. */
export const makesImage = ({ tag, publish }: Pick<Plan, "tag" | "publish">): boolean =>
  tag !== undefined || publish !== undefined;

/** Whether a run has to look at what its steps leave. */
export const keepsFiles = (plan: PlanFields): boolean => plan.onLeak !== undefined || makesImage(plan);

const part = "[a-z0-9]+(?:[._-]+[a-z0-9]+)*";

/** An image's name as others write it (github.com/distribution/reference), without a digest. */
const imageName = new RegExp(`^(?:[\\w.-]+(?::\\d+)?/)?${part}(?:/${part})*(?::\\w[\\w.-]{0,127})?$`);

/**
 * What a form or a command line cannot say by itself.
 *
 * @throws {Failure} `invalid_plan`.
 */
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

/** A step that says nothing of itself. */
export const plainStep: Step = {
  args: [],
  env: [],
  binds: [],
  files: [],
  network: "none",
  readOnly: false,
  init: true,
  secretVariables: [],
  secretFiles: [],
  interactive: false,
  terminal: false,
};

/** Root's, and nobody else's. */
export const secretFileDefaults = { mode: 0o400, owner: "0:0" } as const;

/** A secret and what people call it. */
export interface NamedSource {
  readonly name: string;
  readonly source: SecretSource;
}

export const loginsOf = (registries: Plan["registries"]): NamedSource[] =>
  registries.map(({ address, password }) => ({ name: `the password for ${address}`, source: password }));

/** The secrets of a step; one that it uses twice appears twice. */
export const secretsOf = (step: Step): NamedSource[] => [
  ...step.secretVariables,
  ...step.secretFiles.map(({ path, source }) => ({ name: path, source })),
  ...(step.secretInput ? [{ name: "standard input", source: step.secretInput }] : []),
];

/** Two sources with one key are one secret: the step needs one handle for both. */
export const keyOf = (source: SecretSource): string =>
  "uri" in source ? JSON.stringify([source.uri, source.cacheKey]) : JSON.stringify(source);

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
