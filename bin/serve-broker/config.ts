/** Reads the configuration of a broker: the file, and what it names. */
import { access, constants, readFile } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { readPolicy } from "../../broker/policy/file.ts";
import { pathIn } from "../../broker/providers/file.ts";
import { Failure } from "../../shared/failure.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import type { Secret } from "../../shared/secret.ts";
import { type Fault, inOrder, readDocument } from "../../shared/yaml-document.ts";
import { type Address, splitAddress } from "../host/address.ts";
import { parseRootKey, readRootKey } from "../host/key-files.ts";
import type { AuditSinks } from "./audit-sinks.ts";
import { readCertificate } from "./certificate.ts";
import { openFolders, ownFolders } from "./file-roots.ts";
import { explainFormer } from "./former-fields.ts";
import { BrokerFile, type Source } from "./schema.ts";
import { secretPatterns } from "./secret-patterns.ts";
import { checkSources, checkTenants } from "./source-faults.ts";
import { credentialsOf } from "./source-schema.ts";
import { rootsOf } from "./sources.ts";

export interface BrokerConfig
  extends Omit<BrokerFile, "rootKey" | "previousRootKey" | "redis" | "listen" | "metrics" | "audit"> {
  /** The file itself. */
  readonly file: string;
  /** The folders of what is this broker's own: file:// never reads from them. */
  readonly closed: readonly string[];
  readonly address: Address;
  readonly metricsAddress: Address | undefined;
  readonly rootKey: Secret;
  readonly previousRootKey: Secret | undefined;
  readonly redis: string | undefined;
  readonly audit: AuditSinks;
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
  const document = readDocument(text, BrokerFile);
  if ("faults" in document) return { faults: new Map([[path, explainFormer(document.faults)]]) };
  const { value, lineOf } = document;
  const beside = (name: string) => resolve(dirname(path), name);
  const faults: Fault[] = [];
  const report = (field: keyof BrokerFile, message: string) =>
    faults.push({ line: lineOf([field]), message: `${field}: ${message}` });

  const { origin } = new URL(value.url);
  if (value.url !== origin || !isTrustworthy(origin)) {
    report("url", "an origin such as https://broker.example; http only on loopback");
  }
  const address = splitAddress(value.listen);
  if (!address) report("listen", "HOST:PORT");
  const metricsAddress = value.metrics === undefined ? undefined : splitAddress(value.metrics);
  if (value.metrics !== undefined && !metricsAddress) report("metrics", "HOST:PORT");
  const tls = value.tls && { certificate: beside(value.tls.certificate), key: beside(value.tls.key) };
  if (tls && !value.url.startsWith("https:")) report("url", "https, because of tls");
  await (tls && readCertificate(tls))?.catch((error: NodeJS.ErrnoException) =>
    report("tls", `the certificate or its key cannot be used (${error.code ?? "unknown"})`),
  );
  const entries = Object.values(value.sources);
  checkSources(value.sources, (place, message) => faults.push({ line: lineOf(place), message }));
  const handedOut = entries.flatMap((entry) => (entry.provider === "env" ? entry.variables : []));
  const read = async <T>(
    field: keyof BrokerFile,
    source: Source | undefined,
    from: (source: Source) => Promise<T>,
  ) => {
    if (!source) return undefined;
    if ("env" in source && handedOut.includes(source.env))
      report("sources", `${field} cannot be given out as a secret (${source.env})`);
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
  const audit: AuditSinks = {
    file: auditFile,
    postgres: database === undefined ? undefined : { url: database, broker: postgres?.broker ?? hostname() },
    stdout,
  };
  const credentials = entries.flatMap((entry) => credentialsOf(entry).flatMap(fileOf));
  const own = { ...value, database: postgres?.url, log, tlsKey: tls?.key, credentials };
  const closed = await ownFolders(own, beside);
  for (const [name, entry] of Object.entries(value.sources)) {
    if (entry.provider !== "file") continue;
    for (const message of await openFolders(rootsOf(entry.roots), closed)) {
      faults.push({ line: lineOf(["sources", name]), message: `sources.${name}: ${message}` });
    }
  }
  const policy = beside(value.policy);
  const { faults: wrong, tenants } = await checkPolicy(policy);
  if (tenants)
    checkTenants(value.sources, tenants, (place, message) => faults.push({ line: lineOf(place), message }));

  if (faults.length > 0 || wrong.length > 0 || !address || !rootKey) {
    const found = new Map([
      [path, inOrder(faults)],
      [policy, wrong],
    ]);
    return { faults: found };
  }
  return {
    ...value,
    file: path,
    closed: [...closed.values()].flat(),
    address,
    metricsAddress,
    tls,
    rootKey,
    previousRootKey,
    redis,
    audit,
    policy,
  };
}

/** The faults of a policy file, none for a good one; and the tenants of a good one. */
async function checkPolicy(
  path: string,
): Promise<{ readonly faults: readonly Fault[]; readonly tenants?: readonly string[] }> {
  try {
    const read = readPolicy(await readFile(path, "utf8"), secretPatterns);
    return "faults" in read ? read : { faults: [], tenants: Object.keys(read.file.tenants) };
  } catch (error) {
    return { faults: [unreadable(error)] };
  }
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

/** The file of a credential that is one. */
const fileOf = (uri: string): string[] => {
  const path = pathIn(uri);
  return path === undefined ? [] : [path.startsWith("~/") ? join(homedir(), path.slice(2)) : path];
};

function variable(name: string, environment: NodeJS.ProcessEnv): string {
  const text = Object.hasOwn(environment, name) ? environment[name] : undefined;
  if (text === undefined) throw new Failure("usage", { detail: `${name} is not set` });
  return text;
}

function unreadable(error: unknown): Fault {
  const { code } = error as NodeJS.ErrnoException;
  if (!code) throw error;
  return { line: 1, message: `the file cannot be read (${code})` };
}
