/** What to run: one base image, and one container after the other on it. */
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
