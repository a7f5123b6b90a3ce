/** The verbs of `claimcheck shell` and `claimcheck core`: what each takes, and what it makes of a chain. */
import { schemes } from "../../broker/providers/schemes.ts";
import { type Container, container } from "../../sdk/typescript/container.ts";
import { envFile } from "../../sdk/typescript/env-file.ts";
import {
  type ExecSettings,
  execSettings,
  type Network,
  networks,
  type Want,
} from "../../sdk/typescript/plan.ts";
import { Secret, secret, setSecret } from "../../sdk/typescript/secret.ts";

/** What a pipeline is about, after each of its verbs. */
export type Subject = undefined | Container | Secret;

/** What is asked for in the end: a result of a chain, or a text that is there without running anything. */
export type Answer =
  | { readonly container: Container; readonly want: Want; readonly publish?: string }
  | { readonly text: string };

export interface Parameter {
  readonly name: string;
  /** `words` takes all words that are left. */
  readonly kind: "text" | "secret" | "words" | "switch";
  readonly isOptional?: boolean;
  /** Whether it is only there by its name. */
  readonly isNamed?: boolean;
}

/** The arguments of a verb, of the kinds that its parameters say. */
export interface Arguments {
  text(name: string): string;
  secret(name: string): Secret;
  words(name: string): readonly string[];
  has(name: string): boolean;
}

export interface Verb {
  readonly name: string;
  readonly on: "nothing" | "container" | "secret";
  readonly summary: string;
  readonly parameters: readonly Parameter[];
  readonly apply: (subject: never, given: Arguments) => Subject | { readonly answer: Answer };
}

const text = (name: string): Parameter => ({ name, kind: "text" });
const optional = (name: string): Parameter => ({ name, kind: "text", isOptional: true, isNamed: true });
const named = (name: string, kind: Parameter["kind"]): Parameter => ({
  name,
  kind,
  isOptional: true,
  isNamed: true,
});
const args: Parameter = { name: "args", kind: "words", isOptional: true };
const theSecret: Parameter = { name: "secret", kind: "secret" };

/** What is given of these, by the names that the chain's options have. */
const options = <Name extends string>(given: Arguments, ...names: readonly Name[]) =>
  Object.fromEntries(names.filter((name) => given.has(name)).map((name) => [name, given.text(name)])) as {
    [name in Name]?: string;
  };

const onContainer = (
  name: string,
  summary: string,
  parameters: readonly Parameter[],
  apply: (chain: Container, given: Arguments) => Container,
): Verb => ({ name, on: "container", summary, parameters, apply });

const result = (name: string, want: Want, summary: string): Verb => ({
  name,
  on: "container",
  summary,
  parameters: [],
  apply: (chain: Container) => ({ answer: { container: chain, want } }),
});

export const verbs: readonly Verb[] = [
  { name: "container", on: "nothing", summary: "Begin a chain.", parameters: [], apply: () => container() },
  onContainer("from", "Start from an image.", [text("address")], (chain, given) =>
    chain.from(given.text("address")),
  ),
  onContainer(
    "with-exec",
    "Run a command; a secret can be its standard input.",
    [args, named("stdin", "secret"), named("use-entrypoint", "switch"), ...execSettings.map(optional)],
    (chain, given) =>
      chain.withExec(given.words("args"), {
        ...(options(given, ...execSettings) as ExecSettings),
        ...(given.has("stdin") && { stdin: given.secret("stdin") }),
        ...(given.has("use-entrypoint") && { useEntrypoint: true }),
        ...(given.has("network") && { network: networkOf(given.text("network")) }),
      }),
  ),
  onContainer("with-env-variable", "Set a variable.", [text("name"), text("value")], (chain, given) =>
    chain.withEnvVariable(given.text("name"), given.text("value")),
  ),
  onContainer("without-env-variable", "Take a variable away.", [text("name")], (chain, given) =>
    chain.withoutEnvVariable(given.text("name")),
  ),
  onContainer(
    "with-secret-variable",
    "Set a variable to a secret.",
    [text("name"), theSecret],
    (chain, given) => chain.withSecretVariable(given.text("name"), given.secret("secret")),
  ),
  onContainer(
    "with-secret-variables",
    "Set the variables of a .env file as secrets.",
    [text("file")],
    (chain, given) => chain.withSecretVariables(envFile(given.text("file"))),
  ),
  onContainer("without-secret-variable", "Take a secret variable away.", [text("name")], (chain, given) =>
    chain.withoutSecretVariable(given.text("name")),
  ),
  onContainer(
    "with-mounted-secret",
    "Give commands a secret as a file.",
    [text("path"), theSecret, optional("mode"), optional("owner")],
    (chain, given) =>
      chain.withMountedSecret(given.text("path"), given.secret("secret"), options(given, "mode", "owner")),
  ),
  onContainer("with-workdir", "Set the folder that commands run in.", [text("path")], (chain, given) =>
    chain.withWorkdir(given.text("path")),
  ),
  onContainer("with-user", "Set the user that runs the commands.", [text("user")], (chain, given) =>
    chain.withUser(given.text("user")),
  ),
  onContainer(
    "with-mounted-directory",
    "Share a folder of the host.",
    [text("path"), text("source"), named("read-only", "switch")],
    (chain, given) =>
      chain.withMountedDirectory(given.text("path"), given.text("source"), {
        readOnly: given.has("read-only"),
      }),
  ),
  onContainer(
    "with-file",
    "Copy a file of the host.",
    [text("path"), text("source"), optional("mode"), optional("owner")],
    (chain, given) =>
      chain.withFile(given.text("path"), given.text("source"), options(given, "mode", "owner")),
  ),
  onContainer(
    "with-directory",
    "Copy a folder of the host.",
    [text("path"), text("source"), optional("owner")],
    (chain, given) => chain.withDirectory(given.text("path"), given.text("source"), options(given, "owner")),
  ),
  onContainer(
    "with-registry-auth",
    "Log in at a registry to pull the image.",
    [text("address"), text("username"), theSecret],
    (chain, given) =>
      chain.withRegistryAuth(given.text("address"), given.text("username"), given.secret("secret")),
  ),
  onContainer("with-entrypoint", "Set what --use-entrypoint puts before arguments.", [args], (chain, given) =>
    chain.withEntrypoint(given.words("args")),
  ),
  result("stdout", "stdout", "Print what the last command printed."),
  result("stderr", "stderr", "Print what the last command printed on standard error."),
  result("exit-code", "exitCode", "Print the last command's exit code."),
  result("sync", "sync", "Run the chain and print no result."),
  {
    name: "publish",
    on: "container",
    summary: "Run the chain, and push an image of what it left.",
    parameters: [text("address")],
    apply: (chain: Container, given) => ({
      answer: { container: chain, want: "sync", publish: given.text("address") },
    }),
  },
  {
    name: "secret",
    on: "nothing",
    summary: `Name a secret: ${schemes.map(({ name }) => `${name}://`).join(", ")}.`,
    parameters: [{ name: "uri", kind: "secret" }, optional("cache-key")],
    apply: (_, given) => {
      const named = given.secret("uri");
      return given.has("cache-key") ? secret(named.name, { cacheKey: given.text("cache-key") }) : named;
    },
  },
  {
    name: "set-secret",
    on: "nothing",
    summary: "Name a secret whose value the script has.",
    parameters: [text("name"), text("value")],
    apply: (_, given) => setSecret(given.text("name"), given.text("value")),
  },
  {
    name: "name",
    on: "secret",
    summary: "Print a secret's name.",
    parameters: [],
    apply: (subject: Secret) => ({ answer: { text: subject.name } }),
  },
];

/** Asked for like a verb; says why it is none. */
export const notVerbs: Readonly<Record<string, string>> = {
  plaintext:
    "a secret has no plaintext here: the executor gets the value when the container starts, and only the container sees it",
};

/** What a pipeline that ends here gives, without a verb that asks for it. */
export function answerOf(subject: Subject): Answer | undefined {
  return subject instanceof Secret ? { text: subject.name } : undefined;
}

function networkOf(name: string): Network {
  const network = networks.find((each) => each === name);
  if (!network) throw new Error(`a network is one of ${networks.join(", ")}`);
  return network;
}
