/**
 * The sources of a central broker, made from its configuration. Each tenant reads from a source by a provider of its own:
 * with a log-in, a session and connections that it shares with nobody. The broker reads the credentials of one source from
 * another as a tenant that no token can name.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { cmdProvider } from "../../broker/providers/cmd.ts";
import { envProvider } from "../../broker/providers/env.ts";
import { type FileRoot, fileProvider } from "../../broker/providers/file.ts";
import { opProvider } from "../../broker/providers/op.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { SourceFailure } from "../../broker/providers/provider.ts";
import { vaultProvider } from "../../broker/providers/vault.ts";
import type { LogIn } from "../../broker/providers/vault-session.ts";
import { createResolver } from "../../broker/resolve/resolver.ts";
import type { Source } from "../../broker/resolve/source.ts";
import manifest from "../../package.json" with { type: "json" };
import { ClaimcheckError } from "../../shared/errors.ts";
import type { Secret } from "../../shared/secret.ts";
import { withBytes } from "../host/bytes.ts";
import { openAws } from "./aws-source.ts";
import { needs } from "./source-faults.ts";
import type { Credential } from "./source-fields.ts";
import { isByRequester, type SourceEntries, type SourceEntry, type VaultEntry } from "./source-schema.ts";

export interface SourcesSettings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The folder of broker.yaml, which relative paths begin in. */
  readonly folder: string;
  /** Resolves such a path. */
  readonly beside: (path: string) => string;
}

/** Entries, and the folders that no file:// reads from. */
export interface ConfiguredSources {
  readonly sources: SourceEntries;
  readonly closed: readonly string[];
}

/** Of the broker itself. A tenant's name has at least one letter. */
const nobody = "";

export type Sources = ReturnType<typeof createSources>;

export function createSources(surroundings: SourcesSettings) {
  const { environment, folder } = surroundings;
  const variables = withBytes(environment);
  const own = [
    envProvider(variables),
    fileProvider({ roots: "everywhere", home: homedir(), workingDirectory: folder }),
  ].map((provider): Source => {
    const opened = provider as unknown as Provider;
    return { scheme: opened.scheme, open: () => opened };
  });
  const credentials = createResolver(own);
  let made = new Map<string, { readonly key: string; readonly source: Source; readonly forBroker: Source }>();

  async function read(name: string, uri: string): Promise<string> {
    try {
      const reference = await credentials.locate(nobody, credentials.parse(nobody, uri));
      const [secret] = await credentials.resolve(nobody, [reference]);
      return takeText(secret as Secret);
    } catch (thrown) {
      if (!(thrown instanceof ClaimcheckError)) throw thrown;
      const code = thrown.failures[0]?.code ?? thrown.code;
      const detail = `the credential of the source ${name} cannot be read (${code})`;
      throw new SourceFailure("provider_failed", { detail });
    }
  }

  function open(name: string, entry: SourceEntry, closed: readonly string[], token?: string): Provider {
    const credential = (uri: string) => () => read(name, uri);
    switch (entry.provider) {
      case "env":
        return envProvider(
          Object.fromEntries(Object.entries(variables).filter(([each]) => entry.variables.includes(each))),
        ) as unknown as Provider;
      case "file":
        return fileProvider({
          roots: rootsOf(entry.roots),
          closed,
          home: homedir(),
          workingDirectory: process.cwd(),
        }) as unknown as Provider;
      case "cmd": {
        const { PATH = "/usr/bin:/bin", HOME = "/" } = variables;
        const { commands } = entry;
        return cmdProvider({
          commands,
          environment: { PATH, HOME },
          workingDirectory: "/",
        }) as unknown as Provider;
      }
      case "op":
        return opProvider({
          token: credential(entry.token),
          tokenName: `the token of the source ${name}`,
          signInOrigins: entry.signInOrigins,
          version: manifest.version,
        });
      case "vault":
        return vault(name, entry, credential, surroundings.beside, token) as unknown as Provider;
      case "aws+sm":
      case "aws+ps":
        return openAws(entry, credential, surroundings.beside);
    }
  }

  return {
    /** The sources of a configuration; those that have not changed are the same objects as before. */
    take({ sources, closed }: ConfiguredSources): Source[] {
      const next: typeof made = new Map();
      for (const [name, entry] of Object.entries(sources)) {
        const key = keyOf(name, sources, closed);
        const before = made.get(name);
        const { provider: scheme, tenants } = entry;
        const source = {
          name,
          scheme,
          tenants,
          byRequester: isByRequester(entry),
          open: (_: string, token?: string) => open(name, entry, closed, token),
        };
        const fresh = { key, source, forBroker: { ...source, tenants: [nobody] } };
        next.set(name, before?.key === key ? before : fresh);
      }
      made = next;
      const all = [...made.values()];
      credentials.replace([...own, ...all.map(({ forBroker }) => forBroker)]);
      return all.map(({ source }) => source);
    },

    close: () => credentials.close(),
  };
}

/** What a source is made of, the sources of its credentials included. */
function keyOf(name: string, sources: SourceEntries, closed: readonly string[]): string {
  const entry = sources[name] as SourceEntry;
  return JSON.stringify([
    entry,
    entry.provider === "file" ? closed : [],
    needs(entry, sources).map((each) => keyOf(each, sources, closed)),
  ]);
}

/** Of what is a secret of the broker's own. */
function takeText(secret: Secret): string {
  const text = Buffer.from(secret.expose()).toString().trim();
  secret.wipe();
  return text;
}

export const rootsOf = (roots: readonly (string | FileRoot)[]): FileRoot[] =>
  roots.map((root) => (typeof root === "string" ? { folder: root } : root));

function vault(
  name: string,
  entry: VaultEntry,
  credential: Credential,
  beside: SourcesSettings["beside"],
  token: string | undefined,
) {
  const { address, namespace, prefix, ca, clientCertificate } = entry;
  const pem = (path: string) => () => readFile(beside(path), "utf8");
  return vaultProvider({
    server: {
      address,
      ...(ca !== undefined && { ca: pem(ca), caName: `sources.${name}.ca` }),
      ...(clientCertificate && {
        clientCertificate: {
          certificate: pem(clientCertificate.certificate),
          key: credential(clientCertificate.key),
        },
      }),
      logIn: logInOf(entry.auth, credential, token),
    },
    namespace,
    prefix,
  });
}

function logInOf(auth: VaultEntry["auth"], credential: Credential, token: string | undefined): LogIn {
  if ("token" in auth) return { method: "token", token: credential(auth.token) };
  if ("approle" in auth) {
    const { mount, roleId, secretId } = auth.approle;
    return { method: "approle", mount, roleId, secretId: credential(secretId) };
  }
  if ("requester" in auth) {
    const { mount, role } = auth.requester;
    return { method: "jwt", mount, role, jwt: async () => token ?? refuseWithout() };
  }
  const [method, { mount, role, jwt }] =
    "jwt" in auth ? (["jwt", auth.jwt] as const) : (["kubernetes", auth.kubernetes] as const);
  return { method, mount, role, jwt: credential(jwt) };
}

/** Nothing comes here without one; if it did, it would get no further. */
function refuseWithout(): never {
  throw new SourceFailure("provider_denied", { detail: "the requester sent no token for this source" });
}
