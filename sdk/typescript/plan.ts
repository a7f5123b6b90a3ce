/**
 * The plan document, as far as a chain writes it. `claimcheck plan schema` prints all of it; a test holds the two
 * together. Members are written in the order in which they stand here, and those of a record in the order of their
 * names: every front end makes the same bytes of one chain.
 */

export type SecretReference = string | { uri: string; cacheKey: string } | { value: string };

export const networks = ["none", "bridge", "host"] as const;
export type Network = (typeof networks)[number];

/** What is asked of a chain: what the last command printed, how it ended, or only that it ran. */
export type Want = "stdout" | "stderr" | "exitCode" | "sync";

export interface SecretFile {
  path: string;
  uri?: string;
  cacheKey?: string;
  value?: string;
  mode?: string;
  owner?: string;
}

export interface Volume {
  source: string;
  target: string;
  readOnly?: boolean;
}

export interface PlacedFile {
  path: string;
  /** In base64. */
  content?: string;
  link?: string;
  mode?: string;
  owner?: string;
}

export interface Step {
  args?: string[];
  entrypoint?: string[];
  env?: Record<string, string | null>;
  secretEnv?: Record<string, SecretReference>;
  secretFiles?: SecretFile[];
  secretStdin?: SecretReference;
  user?: string;
  workdir?: string;
  volumes?: Volume[];
  files?: PlacedFile[];
  /** What the command can reach; `none` without it. */
  network?: Network;
  /** After which the command is ended, such as `90s`. */
  timeout?: string;
}

/** The fields that one command is given, and that go into the plan as they are. */
export const execSettings = ["network", "timeout"] as const;
export type ExecSettings = Pick<Step, (typeof execSettings)[number]>;

export interface RegistryLogin {
  address: string;
  user: string;
  password: SecretReference;
}

export interface Plan {
  version: 1;
  image: string;
  registryAuth?: RegistryLogin[];
  steps: Step[];
  want: Want;
  publish?: string;
}
