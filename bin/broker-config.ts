/** The configuration file of `claimcheck broker --config FILE`: every field, and where it is read. */
import { access, constants, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import * as z from "zod/mini";
import { type Fault, inOrder, readDocument } from "../broker/access/document.ts";
import { remoteKeys } from "../broker/access/key-set.ts";
import { loadPolicy } from "../broker/access/policy-file.ts";
import { defaultQuotas } from "../broker/quota.ts";
import { defaultLimits } from "../broker/server.ts";
import { Failure } from "../executor/failure.ts";
import { isTrustworthy } from "../shared/origin.ts";
import type { Secret } from "../shared/secret.ts";
import { type Address, splitAddress } from "./address.ts";
import type { AuditPlaces } from "./audit-places.ts";
import { readCertificate } from "./certificate.ts";
import { parseRootKey, readRootKey } from "./root-key.ts";

const file = z.string().check(z.minLength(1));
const count = z.int().check(z.positive());

/** What is no one else's to read is not in the configuration itself. */
const Source = z.union(
  [z.strictObject({ file }), z.strictObject({ env: z.string().check(z.regex(/^[A-Za-z_][A-Za-z0-9_]*$/)) })],
  { error: "either { file: PATH } or { env: NAME }" },
);

/** Paths are relative to the configuration file. */
const BrokerConfig = z.strictObject({
  /** Where clients reach it, often through a proxy that ends TLS: the issuer of its handles. No path. */
  url: z.url(),
  /** HOST:PORT to listen on. */
  listen: z._default(z.string(), "127.0.0.1:7878"),
  /** What to serve HTTPS with, in PEM, the chain in one file; read again on SIGHUP and when they change. */
  tls: z.optional(z.strictObject({ certificate: file, key: file })),
  /** 32 bytes, raw or as base64, from which all keys are derived; every replica has the same. */
  rootKey: Source,
  /** The one before it, during a rotation: what it signed and sealed is still accepted. */
  previousRootKey: z.optional(Source),
  /**
   * The URL of the Redis or Valkey that replicas share, `redis[s]://[[USER][:PASSWORD]@]HOST[:PORT][/DATABASE]`.
   * Without it handles wait in this process's memory, and a restart voids them.
   */
  redis: z.optional(Source),
  /** Issuers, tenants and rules; read again on SIGHUP and when it changes. */
  policy: file,
  /**
   * Every decision is written here before it takes effect: to a file, or to a PostgreSQL that replicas share, each under
   * a name of its own (its host's where none is given), or to both. Standard output gets a copy.
   */
  audit: z.union(
    [
      file,
      z.strictObject({
        file: z.optional(file),
        postgres: z.optional(z.strictObject({ url: Source, broker: z.optional(file) })),
        stdout: z.optional(z.boolean()),
      }),
    ],
    { error: "a file, or { file: PATH, postgres: { url: … }, stdout: true }" },
  ),
  /** Variables of the broker's own environment that `env://` can read. */
  env: z._default(z.array(z.string().check(z.regex(/^[A-Za-z_][A-Za-z0-9_]*$/))), []),
  /** Folders, by absolute path, that `file://` can read from. */
  files: z._default(z.array(z.string().check(z.regex(/^\/[^\0]*$/))), []),
  /** Commands that `cmd://` can run, to the byte. */
  commands: z._default(z.array(z.string().check(z.minLength(1))), []),
  /** Origins besides 1Password's own that a service account's token may lead to. */
  signInOrigins: z._default(z.array(z.string().check(z.regex(/^https?:\/\/[^/]+$/))), []),
  /** For how long a value that was read is given again, in seconds; a URI's `?ttl=` shortens it. 0 reads each time. */
  cacheTtl: z._default(z.int().check(z.nonnegative()), 0),
  /** Secrets to ask for, handles to redeem or check, handles to look at or revoke; see broker/quota.ts. */
  quotas: z._default(
    z.strictObject({
      issue: quota(defaultQuotas.issue),
      redeem: quota(defaultQuotas.redeem),
      manage: quota(defaultQuotas.manage),
    }),
    defaultQuotas,
  ),
  /** What a client can hold of this process; see broker/server.ts. */
  limits: z._default(
    z.strictObject({
      headersTimeout: z._default(count, defaultLimits.headersTimeout),
      requestTimeout: z._default(count, defaultLimits.requestTimeout),
      connections: z._default(count, defaultLimits.connections),
    }),
    defaultLimits,
  ),
});

/** What a principal, and all principals of a tenant together, may ask for in a minute. */
function quota({ principal, tenant }: { readonly principal: number; readonly tenant: number }) {
  return z._default(
    z.strictObject({ principal: z._default(count, principal), tenant: z._default(count, tenant) }),
    { principal, tenant },
  );
}

type Fields = z.infer<typeof BrokerConfig>;
type Source = z.infer<typeof Source>;

export interface BrokerConfig
  extends Omit<Fields, "rootKey" | "previousRootKey" | "redis" | "listen" | "audit"> {
  readonly address: Address;
  readonly rootKey: Secret;
  readonly previousRootKey: Secret | undefined;
  readonly redis: string | undefined;
  readonly audit: AuditPlaces;
}

/** Faults by file, all of them, so that nobody has to start a broker five times to find five. */
export type FaultsByFile = ReadonlyMap<string, readonly Fault[]>;

export async function readBrokerConfig(
  path: string,
  environment: NodeJS.ProcessEnv,
): Promise<BrokerConfig | { readonly faults: FaultsByFile }> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    return { faults: new Map([[path, [unreadable(error)]]]) };
  }
  const document = readDocument(text, BrokerConfig);
  if ("faults" in document) return { faults: new Map([[path, document.faults]]) };
  const { value, lineOf } = document;
  const beside = (name: string) => resolve(dirname(path), name);
  const faults: Fault[] = [];
  const report = (field: keyof Fields, message: string) =>
    faults.push({ line: lineOf([field]), message: `${field}: ${message}` });

  const { origin } = new URL(value.url);
  if (value.url !== origin || !isTrustworthy(origin)) {
    report("url", "an origin such as https://broker.example; http only on loopback");
  }
  const address = splitAddress(value.listen);
  if (!address) report("listen", "HOST:PORT");
  const tls = value.tls && { certificate: beside(value.tls.certificate), key: beside(value.tls.key) };
  if (tls && !value.url.startsWith("https:")) report("url", "https, because of tls");
  await (tls && readCertificate(tls))?.catch((error: NodeJS.ErrnoException) =>
    report("tls", `the certificate or its key cannot be used (${error.code ?? "unknown"})`),
  );
  const read = async <T>(
    field: keyof Fields,
    source: Source | undefined,
    from: (source: Source) => Promise<T>,
  ) => {
    if (!source) return undefined;
    if ("env" in source && value.env.includes(source.env)) report("env", `${field} is no secret to hand out`);
    return from(source).catch((error: unknown) => {
      const { code = "unknown" } = error as NodeJS.ErrnoException;
      report(field, (error instanceof Failure && error.detail) || `it cannot be read (${code})`);
      return undefined;
    });
  };
  const rootKey = await read("rootKey", value.rootKey, (source) => findRootKey(source, beside, environment));
  const previousRootKey = await read("previousRootKey", value.previousRootKey, (source) =>
    findRootKey(source, beside, environment),
  );
  const redis = await read("redis", value.redis, (source) =>
    findUrl(source, ["redis:", "rediss:"], "rediss://redis.example:6379", beside, environment),
  );
  const {
    file: log,
    postgres,
    stdout,
  } = typeof value.audit === "string" ? { file: value.audit } : value.audit;
  if (log === undefined && !postgres) report("audit", "file, postgres, or both");
  const auditFile = log && beside(log);
  if (auditFile) {
    await access(dirname(auditFile), constants.W_OK).catch(() =>
      report("audit", `${dirname(auditFile)} cannot be written`),
    );
  }
  const database = await read("audit", postgres?.url, (source) =>
    findUrl(source, ["postgres:", "postgresql:"], "postgres://db.example/claimcheck", beside, environment),
  );
  const audit: AuditPlaces = {
    file: auditFile,
    postgres: database === undefined ? undefined : { url: database, broker: postgres?.broker ?? hostname() },
    stdout,
  };
  const policy = beside(value.policy);
  const wrong = await checkPolicy(policy);

  if (faults.length > 0 || wrong.length > 0 || !address || !rootKey) {
    const found = new Map([
      [path, inOrder(faults)],
      [policy, wrong],
    ]);
    return { faults: found };
  }
  return { ...value, address, tls, rootKey, previousRootKey, redis, audit, policy };
}

/** The faults of a policy file, none for a good one. */
export async function checkPolicy(path: string): Promise<readonly Fault[]> {
  try {
    const loaded = loadPolicy(await readFile(path, "utf8"), remoteKeys);
    return "faults" in loaded ? loaded.faults : [];
  } catch (error) {
    return [unreadable(error)];
  }
}

/** `FILE:LINE: what is wrong`, as compilers say it. */
export function printFaults(faults: FaultsByFile): string {
  return [...faults]
    .flatMap(([path, own]) => own.map(({ line, message }) => `${path}:${line}: ${message}\n`))
    .join("");
}

async function findRootKey(
  source: Source,
  beside: (name: string) => string,
  environment: NodeJS.ProcessEnv,
): Promise<Secret> {
  if ("file" in source) return readRootKey(beside(source.file));
  return parseRootKey(Buffer.from(variable(source.env, environment)), source.env);
}

/** @param protocols with their colon, as URL has them. */
async function findUrl(
  source: Source,
  protocols: readonly string[],
  example: string,
  beside: (name: string) => string,
  environment: NodeJS.ProcessEnv,
): Promise<string> {
  const text =
    "file" in source ? await readFile(beside(source.file), "utf8") : variable(source.env, environment);
  const url = text.trim();
  if (!URL.canParse(url) || !protocols.includes(new URL(url).protocol)) {
    throw new Failure("usage", { detail: `a URL such as ${example}` });
  }
  return url;
}

function variable(name: string, environment: NodeJS.ProcessEnv): string {
  const text = environment[name];
  if (text === undefined) throw new Failure("usage", { detail: `${name} is not set` });
  return text;
}

function unreadable(error: unknown): Fault {
  const { code } = error as NodeJS.ErrnoException;
  if (!code) throw error;
  return { line: 1, message: `the file cannot be read (${code})` };
}
