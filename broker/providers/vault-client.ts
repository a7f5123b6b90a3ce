/**
 * node-vault, with its transport replaced: requests go out by undici, through the extension point that node-vault
 * has for that. What is mended by it: redirects are not followed (they would carry the token), paths go out as
 * they were encoded, a token is sent with the request that it was given for and with no other, answers are bounded,
 * errors hold neither token nor body, and the environment decides nothing behind our back.
 */
import type { Pool } from "undici";
import { parseJson } from "./json-field.ts";
import { SourceFailure } from "./provider.ts";
import { readRetryAfter, readText } from "./upstream.ts";

const connectTime = 5_000;

export interface VaultServer {
  /** Such as https://vault.example:8200, with or without a path. */
  readonly address: string;
  /** Certificates to trust instead of the system's, PEM. */
  readonly ca?: (() => Promise<string>) | undefined;
  /** What the operator calls the file with them. */
  readonly caName?: string;
  /** What we identify ourselves with in TLS, PEM; read when we connect first. */
  /** What its own user calls it in an error, address and all. */
  readonly shown?: string;
  readonly clientCertificate?:
    | { readonly certificate: () => Promise<string>; readonly key: () => Promise<string> }
    | undefined;
}

export interface VaultCall {
  readonly token?: string;
  readonly namespace?: string | undefined;
  readonly signal: AbortSignal;
  /** Whose connections to use, so that nobody waits for those of others; the broker's own where it is missing. */
  readonly tenant?: string;
}

/** An answer that is no success. Of what the server wrote, only what tells its cause is kept. */
export class VaultRefusal extends Error {
  readonly status: number;
  /** What a 404 says about a version that is there no more. */
  readonly data: unknown;
  readonly retryAfter: number | undefined;

  constructor(status: number, data: unknown, retryAfter: number | undefined) {
    super(`status ${status}`);
    this.status = status;
    this.data = data;
    this.retryAfter = retryAfter;
  }
}

/** What is used of node-vault. Paths are encoded, without a leading slash. */
export interface VaultClient {
  read(path: string, call: VaultCall): Promise<unknown>;
  write(path: string, body: object, call: VaultCall): Promise<unknown>;
  close(): Promise<void>;
}

/** The options with which node-vault calls its transport. */
interface TransportRequest {
  readonly method: "GET" | "POST";
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly signal: AbortSignal;
  readonly tenant: string;
}

export async function createVaultClient({
  address,
  ca,
  caName = "VAULT_CACERT",
  clientCertificate,
  shown = "the Vault server",
}: VaultServer): Promise<VaultClient> {
  const [{ nodeVault }, { Pool }, trusted, own] = await Promise.all([
    import("./vault-libraries.ts"),
    import("./http-library.ts"),
    ca?.().catch((cause: NodeJS.ErrnoException) => {
      throw new SourceFailure("provider_failed", { detail: `${caName} cannot be read (${cause.code})` });
    }),
    clientCertificate && readPair(clientCertificate),
  ]);
  const { origin, pathname } = new URL(address);
  const pools = new Map<string, Pool>();
  const poolOf = (tenant: string): Pool => {
    const made =
      pools.get(tenant) ??
      new Pool(origin, {
        connections: 16,
        connect: { timeout: connectTime, ...(trusted !== undefined && { ca: trusted }), ...own },
      });
    pools.set(tenant, made);
    return made;
  };
  const vault = nodeVault({
    endpoint: `${origin}${pathname.replace(/\/$/, "")}`,
    "request-promise": {
      defaults: () => (request: TransportRequest) => send(poolOf(request.tenant), origin, request, shown),
    },
    // Or DEBUG=node-vault would print tokens and values.
    debug: () => {},
  });
  // node-vault takes these from the environment where they are empty, and puts its token into every request,
  // also into a log-in.
  Object.assign(vault, { pathPrefix: "" });
  for (const name of ["token", "namespace"]) {
    Object.defineProperty(vault, name, { get: () => undefined, set: () => {} });
  }
  return {
    read: (path, call) => vault.read(path, options(call)),
    write: (path, body, call) => vault.write(path, body, options(call)),
    close: async () => {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}

async function readPair({ certificate, key }: NonNullable<VaultServer["clientCertificate"]>) {
  const cert = await certificate().catch((cause: NodeJS.ErrnoException) => {
    throw new SourceFailure("provider_failed", {
      detail: `the client certificate cannot be read (${cause.code})`,
    });
  });
  return { cert, key: await key() };
}

/** Made anew for each request: node-vault writes into the headers that it is given. */
function options({ token, namespace, signal, tenant = "" }: VaultCall) {
  const headers = {
    // Without it, an agent in front of the server may refuse the request as forged.
    "X-Vault-Request": "true",
    ...(token !== undefined && { "X-Vault-Token": token }),
    ...(namespace && { "X-Vault-Namespace": namespace }),
  };
  return { headers, signal, tenant } as object;
}

async function send(
  pool: Pool,
  origin: string,
  { method, uri, headers, json, signal }: TransportRequest,
  shown: string,
) {
  const body = method === "POST" ? JSON.stringify(json) : undefined;
  try {
    const answer = await pool.request({
      method,
      // As it was encoded: a URL parser would resolve what looks like dot segments.
      path: uri.slice(origin.length),
      headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body }),
      signal,
    });
    const { statusCode } = answer;
    const text = await readText(shown, answer.body);
    // Thrown here, because node-vault takes some failures for successes, by their path.
    if (statusCode !== 200 && statusCode !== 204) throw answerFailure(statusCode, text, answer.headers);
    return { statusCode, body: text === "" ? undefined : parse(text) };
  } catch (thrown) {
    if (thrown instanceof VaultRefusal || thrown instanceof SourceFailure) throw thrown;
    if (signal.aborted) throw new SourceFailure("provider_timeout", { detail: shown });
    const { code } = thrown as NodeJS.ErrnoException;
    throw new SourceFailure("provider_unreachable", {
      detail: `${shown} (${code ?? "no connection"})`,
    });
  }
}

function parse(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    throw new SourceFailure("provider_failed", { detail: "the Vault server's answer is not JSON" });
  }
}

function answerFailure(
  status: number,
  text: string,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): VaultRefusal {
  let data: unknown;
  try {
    if (status === 404) data = JSON.parse(text).data;
  } catch {
    // No word of a version then.
  }
  return new VaultRefusal(status, data, readRetryAfter(headers["retry-after"]));
}

/** The failure that a status stands for, where nothing about the one request explains it. */
export function asSourceFailure({ status, retryAfter }: VaultRefusal): SourceFailure {
  const asked = { after: retryAfter, detail: `the Vault server answers with status ${status}` };
  if (status === 429) return new SourceFailure("provider_busy", { ...asked, again: true });
  // What a standby, a proxy or a sealed server says passes; a failure of its own only if it says so.
  const again = [412, 502, 503, 504].includes(status) || (status >= 500 && retryAfter !== undefined);
  return new SourceFailure("provider_failed", { ...asked, again });
}
