/**
 * A chain of containers. Every verb gives a new chain and leaves the old one as it was; nothing runs until a result is
 * asked for, and then the chain is a plan for an executor.
 */
import { resolve } from "node:path";
import { run } from "./executor.ts";
import { type CopyOptions, type FileOptions, readFile, readFolder } from "./host-files.ts";
import {
  type ExecSettings,
  execSettings,
  type PlacedFile,
  type Plan,
  type SecretFile,
  type SecretReference,
  type Step,
  type Volume,
  type Want,
} from "./plan.ts";
import { type Secret, valueBeside } from "./secret.ts";

export interface ExecOptions extends ExecSettings {
  /** What the command reads from its standard input. */
  stdin?: Secret;
  /** Whether the entrypoint, the chain's or the image's, stands before the arguments. */
  useEntrypoint?: boolean;
}

export interface SecretFileOptions {
  /** In octal; 0400 without it. */
  mode?: string;
  /** USER[:GROUP], by name or number; root without it. */
  owner?: string;
}

/** What an executor is sent: a plan, and the values of `setSecret` beside it, in base64. */
export interface RunRequest {
  plan: Plan;
  values?: Record<string, string>;
}

export interface Container {
  /** Starts from an image, as podman and docker name them. */
  from(address: string): Container;
  /** Runs a command; without arguments the image's own. */
  withExec(args: readonly string[], options?: ExecOptions): Container;
  withEnvVariable(name: string, value: string): Container;
  /** Takes a variable away, be it the image's. */
  withoutEnvVariable(name: string): Container;
  withSecretVariable(name: string, secret: Secret): Container;
  /** Sets variables to these secrets, each under its name: those of `envFile`. */
  withSecretVariables(secrets: readonly Secret[]): Container;
  withoutSecretVariable(name: string): Container;
  /** A secret as a file, in memory, for the commands that follow. */
  withMountedSecret(path: string, secret: Secret, options?: SecretFileOptions): Container;
  /** The folder that commands run in. */
  withWorkdir(path: string): Container;
  /** USER[:GROUP], by name or number. */
  withUser(user: string): Container;
  /** Shares a folder or file of the executor's host. */
  withMountedDirectory(path: string, source: string, options?: { readOnly?: boolean }): Container;
  /** Copies a file of this host. */
  withFile(path: string, source: string, options?: FileOptions): Container;
  /** Copies a folder of this host. */
  withDirectory(path: string, source: string, options?: CopyOptions): Container;
  /** Logs in at a registry, such as `registry.example:5000`, when the image has to be pulled. */
  withRegistryAuth(address: string, username: string, secret: Secret): Container;
  /** What stands before the arguments of commands with `useEntrypoint`. */
  withEntrypoint(args: readonly string[]): Container;
  /** What the last command printed. @throws {RunError} when a command fails. */
  stdout(): Promise<string>;
  /** What the last command printed on standard error. @throws {RunError} when a command fails. */
  stderr(): Promise<string>;
  /** The last command's. @throws {RunError} when one before it fails. */
  exitCode(): Promise<number>;
  /** Runs the chain. @throws {RunError} when a command fails. */
  sync(): Promise<Container>;
  /**
   * Runs the chain, and pushes an image of what it left to the registry that the name begins with.
   *
   * @returns the name.
   * @throws {RunError} when a command fails, or a secret is in what it left.
   */
  publish(address: string): Promise<string>;
  /** What an executor would be sent for one of these results, and with `publish` to push an image; nothing runs. */
  request(want: Want, options?: { publish?: string }): RunRequest;
}

type Variable = { readonly value: string | null } | { readonly secret: Secret };

/** What holds for every command from here on. */
interface Setting {
  readonly variables: ReadonlyMap<string, Variable>;
  readonly secretFiles: ReadonlyMap<string, { readonly secret: Secret } & SecretFileOptions>;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly entrypoint?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
}

interface Exec {
  readonly args: readonly string[];
  readonly options: ExecOptions;
  readonly setting: Setting;
  readonly files: readonly (() => PlacedFile[])[];
}

interface Login {
  readonly username: string;
  readonly secret: Secret;
}

interface State {
  readonly image?: string;
  /** By the registries' addresses. */
  readonly logins: ReadonlyMap<string, Login>;
  readonly execs: readonly Exec[];
  readonly setting: Setting;
  /** Copied when the next command runs, and only read then. */
  readonly files: Exec["files"];
}

/** An empty chain; `from` comes next. */
export function container(): Container {
  return chain({
    logins: new Map(),
    execs: [],
    files: [],
    setting: { variables: new Map(), secretFiles: new Map(), volumes: new Map() },
  });
}

function chain(state: State): Container {
  const { logins, execs, files, setting } = state;
  const set = (change: Partial<Setting>) => chain({ ...state, setting: { ...setting, ...change } });
  const setVariable = (name: string, variable: Variable) =>
    set({ variables: new Map([...setting.variables, [name, variable]]) });
  const copy = (read: () => PlacedFile[]) => chain({ ...state, files: [...files, read] });
  const ask = async (want: Want) => run(requestOf(state, want), want);

  const self: Container = {
    from: (address) => chain({ ...state, image: address }),
    withExec: (args, options = {}) =>
      chain({ ...state, execs: [...execs, { args, options, setting, files }], files: [] }),
    withEnvVariable: (name, value) => setVariable(name, { value }),
    withoutEnvVariable: (name) => setVariable(name, { value: null }),
    withSecretVariable: (name, secret) => setVariable(name, { secret }),
    withSecretVariables: (secrets) => {
      const added = secrets.map((secret) => [secret.name, { secret }] as const);
      return set({ variables: new Map([...setting.variables, ...added]) });
    },
    withoutSecretVariable: (name) => {
      const kept = [...setting.variables].filter(
        ([key, variable]) => key !== name || !("secret" in variable),
      );
      return set({ variables: new Map(kept) });
    },
    withMountedSecret: (path, secret, options = {}) =>
      set({ secretFiles: new Map([...setting.secretFiles, [path, { ...options, secret }]]) }),
    withWorkdir: (workdir) => set({ workdir }),
    withUser: (user) => set({ user }),
    withMountedDirectory: (target, source, { readOnly } = {}) => {
      const volume = { source: resolve(source), target, ...(readOnly && { readOnly }) };
      return set({ volumes: new Map([...setting.volumes, [target, volume]]) });
    },
    withFile: (path, source, options = {}) => copy(() => readFile(path, source, options)),
    withDirectory: (path, source, options = {}) => copy(() => readFolder(path, source, options)),
    withRegistryAuth: (address, username, secret) =>
      chain({ ...state, logins: new Map([...logins, [address, { username, secret }]]) }),
    withEntrypoint: (entrypoint) => set({ entrypoint }),
    stdout: async () => (await ask("stdout")).stdout,
    stderr: async () => (await ask("stderr")).stderr,
    exitCode: async () => (await ask("exitCode")).exitCode,
    sync: async () => {
      await ask("sync");
      return self;
    },
    publish: async (address) => {
      await run(requestOf(state, "sync", { publish: address }), "sync");
      return address;
    },
    request: (want, options) => requestOf(state, want, options),
  };
  return self;
}

function requestOf(
  { image, logins, execs }: State,
  want: Want,
  { publish }: { publish?: string } = {},
): RunRequest {
  if (image === undefined) throw new Error("the chain has no image to start from");
  if (execs.length === 0) throw new Error("the chain runs no command that could have a result");
  const registryAuth = [...logins].map(([address, { username, secret }]) => ({
    address,
    user: username,
    password: secret.reference,
  }));
  const plan: Plan = {
    version: 1,
    image,
    ...(registryAuth.length > 0 && { registryAuth }),
    steps: execs.map(stepOf),
    want,
    ...(publish !== undefined && { publish }),
  };
  const values = valuesOf([...[...logins.values()].map(({ secret }) => secret), ...execs.flatMap(secretsOf)]);
  return { plan, ...(values && { values }) };
}

function stepOf({ args, options, setting, files }: Exec): Step {
  const { variables, secretFiles, volumes, user, workdir } = setting;
  const { stdin } = options;
  const ownCommand = options.useEntrypoint || args.length === 0;
  const entrypoint = ownCommand ? setting.entrypoint : [];
  const sorted = [...variables].sort(byName);
  const env = sorted.flatMap(([name, variable]) =>
    "value" in variable ? [[name, variable.value] as const] : [],
  );
  const secretEnv = sorted.flatMap(([name, variable]) =>
    "secret" in variable ? [[name, variable.secret.reference] as const] : [],
  );
  const placed = files.flatMap((read) => read());
  return {
    ...(args.length > 0 && { args: [...args] }),
    ...(entrypoint && { entrypoint: [...entrypoint] }),
    ...(env.length > 0 && { env: Object.fromEntries(env) }),
    ...(secretEnv.length > 0 && { secretEnv: Object.fromEntries(secretEnv) }),
    ...(secretFiles.size > 0 && { secretFiles: [...secretFiles].map(secretFileOf) }),
    ...(stdin && { secretStdin: stdin.reference }),
    ...(user !== undefined && { user }),
    ...(workdir !== undefined && { workdir }),
    ...(volumes.size > 0 && { volumes: [...volumes.values()] }),
    ...(placed.length > 0 && { files: placed }),
    ...settingsOf(options),
  };
}

const settingsOf = (options: ExecSettings): ExecSettings =>
  Object.fromEntries(
    execSettings.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );

/** As bytes: every language has this order. */
const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

type MountedSecret = [path: string, mounted: { readonly secret: Secret } & SecretFileOptions];

function secretFileOf([path, { secret, mode, owner }]: MountedSecret): SecretFile {
  const which: Exclude<SecretReference, string> | { uri: string } =
    typeof secret.reference === "string" ? { uri: secret.reference } : secret.reference;
  return { path, ...which, ...(mode !== undefined && { mode }), ...(owner !== undefined && { owner }) };
}

const secretsOf = ({ setting, options }: Exec): Secret[] => [
  ...[...setting.variables.values()].flatMap((variable) => ("secret" in variable ? [variable.secret] : [])),
  ...[...setting.secretFiles.values()].map(({ secret }) => secret),
  ...(options.stdin ? [options.stdin] : []),
];

/** @returns undefined where all secrets have URIs. */
function valuesOf(secrets: readonly Secret[]): Record<string, string> | undefined {
  const values = new Map<string, string>();
  for (const secret of new Set(secrets)) {
    const value = valueBeside(secret);
    if (!value) continue;
    if (values.has(secret.name)) throw new Error(`two secrets were set with the name ${secret.name}`);
    values.set(secret.name, Buffer.from(value).toString("base64"));
  }
  return values.size > 0 ? Object.fromEntries([...values].sort(byName)) : undefined;
}
