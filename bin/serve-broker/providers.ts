/**
 * Which secrets a broker of this host reads, and with which credentials. The libraries behind vault:// and op://
 * are loaded when the first such secret is asked for.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { cmdProvider } from "../../broker/providers/cmd.ts";
import { envProvider } from "../../broker/providers/env.ts";
import { type FileRoot, fileProvider } from "../../broker/providers/file.ts";
import { libsecretProvider } from "../../broker/providers/libsecret.ts";
import { opProvider } from "../../broker/providers/op.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { vaultProvider } from "../../broker/providers/vault.ts";
import manifest from "../../package.json" with { type: "json" };
import { withBytes } from "../host/bytes.ts";
import { lineShower } from "./show-line.ts";
import { userAws } from "./user-aws.ts";
import { vaultServer } from "./vault-server.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Everything that the user may read by himself: for a broker that nobody else can reach. */
export function userProviders(environment: Environment): Provider[] {
  const workingDirectory = process.cwd();
  const variables = withBytes(environment);
  return [
    envProvider(variables),
    fileProvider({ roots: "everywhere", home: homedir(), workingDirectory }),
    cmdProvider({
      commands: "any",
      environment: variables,
      workingDirectory,
      showLine: lineShower(variables),
    }),
    ...managers(environment, { ofUser: true }),
    libsecretProvider({ address: sessionBus(environment) }),
  ] as Provider[];
}

/** Where systemd puts it, where nobody says. */
function sessionBus({ DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR }: Environment): string | undefined {
  return DBUS_SESSION_BUS_ADDRESS || (XDG_RUNTIME_DIR && `unix:path=${XDG_RUNTIME_DIR}/bus`) || undefined;
}

interface Allowed {
  readonly variables: readonly string[];
  readonly roots: readonly FileRoot[];
  readonly commands: readonly string[];
}

/** For a broker to try things out with (--dev). What others may read of this host: of its variables, files and commands nothing that is not listed. */
export function allowedProviders(environment: Environment, allowed: Allowed): Provider[] {
  const variables = withBytes(environment);
  const { PATH = "/usr/bin:/bin", HOME = "/" } = variables;
  const listed = Object.entries(variables).filter(([name]) => allowed.variables.includes(name));
  return [
    envProvider(Object.fromEntries(listed)),
    fileProvider({
      roots: allowed.roots,
      home: homedir(),
      workingDirectory: process.cwd(),
    }),
    cmdProvider({
      commands: allowed.commands,
      environment: { PATH, HOME },
      workingDirectory: "/",
      showLine: lineShower(variables),
    }),
    ...managers(environment, { ofUser: false }),
  ] as Provider[];
}

function managers(environment: Environment, { ofUser }: { readonly ofUser: boolean }) {
  const read = (path: string) => readFile(path, "utf8").then((text) => text.trim());
  const either = (name: string) =>
    environment[`BAO_${name}`]?.trim() || environment[`VAULT_${name}`]?.trim() || undefined;
  const prefix = environment.VAULT_PATH_PREFIX?.trim().replace(/^\/+|\/+$/g, "");
  return [
    opProvider({
      token: environment.OP_SERVICE_ACCOUNT_TOKEN?.trim(),
      signInOrigins: (environment.CLAIMCHECK_OP_SIGN_IN_ORIGINS ?? "").split(/[,\s]+/).filter(Boolean),
      version: manifest.version,
      ...(ofUser && { command: environment }),
    }),
    vaultProvider({
      server: vaultServer(environment, { read, tokenFile: join(homedir(), ".vault-token") }),
      namespace: either("NAMESPACE")?.replace(/^\/+|\/+$/g, ""),
      ...(prefix && { prefix }),
      looseMounts: ofUser,
    }),
    ...userAws(environment),
  ];
}
