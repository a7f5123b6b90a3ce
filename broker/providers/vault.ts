/**
 * vault://PATH, one field of a secret in a KV engine, version 1 or 2, of Vault or OpenBao.
 *
 *     rest       = path "#" field [ "?" parameters ]      ; or path "." field, split at the last dot
 *     path       = segment *( "/" segment )               ; mount first; one segment alone lies under the prefix
 *     segment    = 1*char                                 ; but not "." or ".."
 *     field      = 1*( char / "/" / "#" )
 *     char       = any character but "/", "#", "?", "%" and the control characters
 *     parameters = version=N / namespace=NS               ; NS is a path, below the broker's own namespace
 *
 * A namespace is the beginning of a path: to the server `team/secret/app` and `secret/app` in the namespace `team`
 * are one, so both have the canonical form vault://team/secret/app#…, and policy sees it.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { matches } from "../../shared/glob.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import { Secret } from "../../shared/secret.ts";
import { head, shownName } from "../../shared/uri.ts";
import {
  type Provider,
  type ReadResult,
  type Scheme,
  type SecretReference,
  SourceFailure,
} from "./provider.ts";
import {
  asSourceFailure,
  createVaultClient,
  type VaultCall,
  type VaultClient,
  VaultRefusal,
  type VaultServer,
} from "./vault-client.ts";
import { createMounts, type Mounts } from "./vault-mounts.ts";
import { createVaultSession, type LogIn, type VaultSession } from "./vault-session.ts";

interface VaultReference extends SecretReference {
  /** With the namespace at its beginning. */
  readonly path: string;
  readonly field: string;
  readonly version: number | undefined;
}

interface VaultSettings {
  /** Where the server is and how to log in there; a sentence instead where that is not known. */
  readonly server: (VaultServer & { readonly logIn: LogIn }) | { readonly missing: string };
  /** Of the broker, for every request. */
  readonly namespace?: string | undefined;
  /** The mount for a path of one segment. */
  readonly prefix?: string | undefined;
  /**
   * Look under the prefix also for a longer path that names no mount. Then a secret has two spellings, so this is
   * for a user's own broker, where no policy tells them apart.
   */
  readonly looseMounts?: boolean;
}

interface Connection {
  readonly client: VaultClient;
  readonly session: VaultSession;
  readonly mounts: Mounts;
}

export function vaultProvider(settings: VaultSettings): Provider<VaultReference> {
  const { server, namespace, prefix = "secret", looseMounts = false } = settings;
  let connecting: Promise<Connection> | undefined;

  /** When it is first needed, because the libraries take their time to load. */
  async function connect(): Promise<Connection> {
    if ("missing" in server) throw new ClaimcheckError("provider_failed", { detail: server.missing });
    const client = await createVaultClient(server);
    const session = createVaultSession(client, server.logIn, namespace);
    const ask = (path: string, signal: AbortSignal, tenant: string) =>
      session.authorized((token) => client.read(path, { token, namespace, signal, tenant }));
    return { client, session, mounts: createMounts(ask, looseMounts ? prefix : undefined) };
  }

  return {
    scheme: "vault",
    parameters: ["version", "namespace"],
    timeLimit: 20_000,

    parse: (rest, parameters) => parse(rest, parameters, prefix),

    async read(references, signal, tenant) {
      connecting ??= connect().catch((thrown) => {
        connecting = undefined;
        throw thrown;
      });
      const connection = await connecting;
      // Fields of one version of one path are one read.
      const reads = new Map<string, Promise<Data | ClaimcheckError>>();
      return Promise.all(
        references.map(async (reference) => {
          const key = `${reference.version ?? ""}:${reference.path}`;
          const reading = reads.get(key) ?? readPath(connection, reference, { namespace, signal, tenant });
          reads.set(key, reading);
          const data = await reading;
          return data instanceof ClaimcheckError ? data : pick(data, reference);
        }),
      );
    },

    async logIn() {
      connecting ??= connect();
      const { session } = await connecting;
      await session.logIn().catch((thrown: unknown) => {
        throw thrown instanceof VaultRefusal ? asSourceFailure(thrown) : thrown;
      });
    },

    async close() {
      const connection = await connecting?.catch(() => undefined);
      connection?.session.close();
      await connection?.client.close();
    },
  };
}

function parse(rest: string, parameters: ReadonlyMap<string, string>, prefix: string): VaultReference {
  const shown = `vault://${shownName(rest)}`;
  const refuse = (detail: string) =>
    new ClaimcheckError("invalid_uri", { detail: `vault://${head(rest)}: ${detail}` });
  const hash = rest.indexOf("#");
  const at = hash < 0 ? rest.lastIndexOf(".") : hash;
  const field = rest.slice(at + 1);
  if (at < 1 || field === "") throw refuse("write PATH#FIELD");
  const version = parameters.get("version");
  if (version !== undefined && !/^[1-9]\d{0,8}$/.test(version))
    throw refuse("a version is a number from 1 on");
  const path = rest.slice(0, at);
  const namespace = parameters.get("namespace");
  const full = [
    ...(namespace === undefined ? [] : [namespace]),
    ...(path.includes("/") ? [] : [prefix]),
    path,
  ];
  const joined = full.join("/");
  if (/[%?\p{Cc}]/u.test(joined + field) || joined.includes("#") || !`${joined}${field}`.isWellFormed()) {
    throw refuse('a path or a field has no "%", no "?" and no control characters');
  }
  if (joined.split("/").some((segment) => segment === "" || segment === "." || segment === "..")) {
    throw refuse('a path has no empty segments, "." and ".."');
  }
  return {
    scheme: "vault",
    canonical: `vault://${joined}#${field}${version === undefined ? "" : `?version=${version}`}`,
    shown,
    path: joined,
    field,
    version: version === undefined ? undefined : Number(version),
  };
}

/** One of the versions is the latest, so who denies a secret without naming a version denies them all. */
const patterns: PatternDemands = {
  scheme: "vault",
  denial: (pattern) => (uri) => matches(pattern, uri) || matches(pattern, uri.replace(/\?.*$/su, "")),
};

export const vaultScheme: Scheme = { name: "vault", form: "vault://PATH#FIELD", patterns };

type Data = Readonly<Record<string, unknown>>;

/** A KV engine's answer; version 2 wraps the data once more. */
interface Answer {
  readonly data?: Data | null;
}

async function readPath(
  { client, session, mounts }: Connection,
  { path, version, shown }: VaultReference,
  call: VaultCall & { readonly tenant: string },
): Promise<Data | ClaimcheckError> {
  try {
    const mount = await mounts.find(path, call.signal, call.tenant);
    if (!mount) {
      return new ClaimcheckError("secret_not_found", {
        detail: `${shown} is in no mount that the token can see`,
      });
    }
    if (mount.version === undefined) {
      return new ClaimcheckError("provider_failed", { detail: `${shown} is not in a KV engine` });
    }
    if (mount.version === 1 && version !== undefined) {
      return new ClaimcheckError("secret_not_found", {
        detail: `${shown}: version 1 of KV keeps no versions`,
      });
    }
    const key = mount.key.split("/").map(encodeURIComponent).join("/");
    const base = mount.path.split("/").map(encodeURIComponent).join("/");
    const where =
      mount.version === 1
        ? `${base}${key}`
        : `${base}data/${key}${version === undefined ? "" : `?version=${version}`}`;
    const answer = (await session.authorized((token) => client.read(where, { ...call, token }))) as
      | Answer
      | undefined;
    const data = mount.version === 1 ? answer?.data : (answer?.data?.data as Data | null | undefined);
    return (
      data ?? new SourceFailure("provider_failed", { detail: "the Vault server's answer is not a KV secret" })
    );
  } catch (thrown) {
    if (thrown instanceof ClaimcheckError) return thrown;
    if (!(thrown instanceof VaultRefusal)) throw thrown;
    return failure(thrown, shown);
  }
}

function failure(refusal: VaultRefusal, shown: string): ClaimcheckError {
  switch (refusal.status) {
    case 400:
    case 405:
      return new ClaimcheckError("provider_failed", {
        detail: `${shown}: the Vault server does not accept this path`,
      });
    case 403:
      return new ClaimcheckError("provider_denied", { detail: `${shown}: the token's policy denies it` });
    case 404:
      return new ClaimcheckError("secret_not_found", { detail: `${shown} ${absence(refusal.data)}` });
    default:
      return asSourceFailure(refusal);
  }
}

/** What became of a version; a path or version that never was has no metadata. */
function absence(data: unknown): string {
  const { metadata } = (data ?? {}) as {
    metadata?: { version?: number; destroyed?: boolean; deletion_time?: string };
  };
  if (metadata?.destroyed) return `was destroyed, in version ${metadata.version}`;
  if (metadata?.deletion_time) return `was deleted, in version ${metadata.version}`;
  return "does not exist";
}

function pick(data: Data, { field, shown }: VaultReference): ReadResult {
  if (!Object.hasOwn(data, field)) {
    return new ClaimcheckError("secret_not_found", { detail: `${shown} does not have this field` });
  }
  const value = data[field];
  const text = typeof value === "string" ? value : JSON.stringify(value);
  // A copy of its own: short texts share memory with others.
  return new Secret(Uint8Array.from(Buffer.from(text)));
}
