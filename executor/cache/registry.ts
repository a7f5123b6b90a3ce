/**
 * One repository of an OCI registry (distribution-spec 1.1), as far as results need it. What it gives is compared with
 * the digest that was asked for; what a tag stands for is anybody's word.
 */
import { openAsBlob } from "node:fs";
import { digestOf } from "../../shared/digest.ts";

/** `HOST[:PORT]/NAME`, as in an image's name without its tag. */
const grammar =
  /^([a-z0-9.-]+(?::\d+)?)\/([a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)$/;

const loopback = /^(localhost|127\.\d+\.\d+\.\d+)(:|$)/;

/** For one answer, in milliseconds; and for each byte of a layer, which is a megabyte a second. */
const timeLimit = 60_000;
const timeOfByte = 1 / 1000;
const manifestLimit = 4 * 1024 * 1024;

export const manifestType = "application/vnd.oci.image.manifest.v1+json";
export const indexType = "application/vnd.oci.image.index.v1+json";

export type Registry = ReturnType<typeof openRegistry>;

interface RegistrySettings {
  /** For `HOST[:PORT]`, `user:password` in base64, where there is a log-in. */
  readonly findLogin: (host: string) => string | undefined;
}

export const isReference = (reference: string): boolean => grammar.test(reference);

/** The registry did not do what it was asked to; `code` says so in a word. */
export class RegistryError extends Error {
  override readonly name = "RegistryError";
  readonly code: string;

  constructor(code: string, cause?: unknown) {
    super(code, { cause });
    this.code = code;
  }
}

export function openRegistry(reference: string, { findLogin }: RegistrySettings) {
  const [, host = "", name = ""] = grammar.exec(reference) ?? [];
  // As with docker, only this host is spoken to without TLS.
  const origin = `${loopback.test(host) ? "http" : "https"}://${host}`;
  const base = `${origin}/v2/${name}`;
  const login = findLogin(host);
  let authorization = login && `Basic ${login}`;

  async function send(url: string, init: RequestInit, limit = timeLimit): Promise<Response> {
    // An upload's address may be elsewhere: what this registry knows us by is for it alone.
    const headers = {
      ...init.headers,
      ...(authorization && url.startsWith(`${origin}/`) && { authorization }),
    };
    try {
      return await fetch(url, { ...init, headers, signal: AbortSignal.timeout(Math.ceil(limit)) });
    } catch (cause) {
      throw new RegistryError(reasonOf(cause), cause);
    }
  }

  async function ask(url: string, init: RequestInit, expected: readonly number[], limit?: number) {
    let response = await send(url, init, limit);
    const challenge = response.headers.get("www-authenticate");
    if (response.status === 401 && challenge?.startsWith("Bearer ")) {
      authorization = `Bearer ${await fetchToken(challenge, login)}`;
      response = await send(url, init, limit);
    }
    if (expected.includes(response.status)) return response;
    throw new RegistryError(`HTTP status ${response.status}`);
  }

  /** @param limit for the bytes to arrive, in milliseconds. */
  async function put(digest: string, body: Blob, limit: number): Promise<void> {
    const there = await ask(`${base}/blobs/${digest}`, { method: "HEAD" }, [200, 404]);
    if (there.status === 200) return;
    const begun = await ask(`${base}/blobs/uploads/`, { method: "POST" }, [202]);
    const upload = new URL(begun.headers.get("location") ?? "", base);
    upload.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream" };
    await ask(upload.href, { method: "PUT", headers, body }, [201], limit);
  }

  return {
    reference,

    /** @param of a tag or a digest. @returns undefined when there is none. */
    async getManifest(of: string): Promise<Buffer | undefined> {
      const accept = `${manifestType}, ${indexType}`;
      const response = await ask(`${base}/manifests/${of}`, { headers: { accept } }, [200, 404]);
      return response.status === 404 ? undefined : read(response, manifestLimit);
    },

    /** @param as a tag or its digest. */
    async putManifest(as: string, type: string, bytes: Buffer): Promise<void> {
      const init = { method: "PUT", headers: { "content-type": type }, body: new Uint8Array(bytes) };
      await ask(`${base}/manifests/${as}`, init, [201]);
    },

    /** @returns undefined when there is none. */
    async getBlob(digest: string, limit: number): Promise<Buffer | undefined> {
      const response = await ask(`${base}/blobs/${digest}`, {}, [200, 404]);
      return response.status === 404 ? undefined : read(response, limit);
    },

    putBlob: (bytes: Buffer): Promise<void> =>
      put(digestOf(bytes), new Blob([new Uint8Array(bytes)]), timeLimit),

    /**
     * @param take gets its bytes, of which nobody knows whether they are what they should be.
     * @returns false when there is none.
     */
    async getFile(
      digest: string,
      limit: number,
      take: (bytes: AsyncIterable<Uint8Array>) => Promise<void>,
    ): Promise<boolean> {
      const time = timeLimit + limit * timeOfByte;
      const response = await ask(`${base}/blobs/${digest}`, {}, [200, 404], time);
      if (response.status === 404) return false;
      await take(bytesOf(response, limit));
      return true;
    },

    async putFile(digest: string, path: string): Promise<void> {
      const file = await openAsBlob(path);
      await put(digest, file, timeLimit + file.size * timeOfByte);
    },
  };
}

/** Of the token service's answer, in bytes. */
const tokenLimit = 1024 * 1024;

/** The registry's token service (distribution's "Token Authentication"), asked with the log-in, if there is one. */
async function fetchToken(challenge: string, login: string | undefined): Promise<string> {
  const { realm = "", ...about } = Object.fromEntries(
    [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
  ) as Record<string, string>;
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  if (url?.protocol !== "https:" && !loopback.test(url?.host ?? ""))
    throw new RegistryError("no token service");
  for (const key of ["service", "scope"]) if (about[key]) url?.searchParams.set(key, about[key]);
  const init = {
    signal: AbortSignal.timeout(timeLimit),
    ...(login && { headers: { authorization: `Basic ${login}` } }),
  };
  const answer = await fetch(url as URL, init).catch((cause) => {
    throw new RegistryError(reasonOf(cause), cause);
  });
  const { token, access_token = token } = parseFields((await read(answer, tokenLimit)).toString());
  if (typeof access_token !== "string") throw new RegistryError(`no token, HTTP status ${answer.status}`);
  return access_token;
}

function parseFields(text: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(text) as object) };
  } catch {
    return {};
  }
}

async function read(response: Response, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytesOf(response, limit)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* bytesOf(response: Response, limit: number): AsyncGenerator<Uint8Array> {
  let size = 0;
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > limit) throw new RegistryError("an answer that is too large");
      yield chunk;
    }
  } catch (cause) {
    throw cause instanceof RegistryError ? cause : new RegistryError(reasonOf(cause), cause);
  }
}

function reasonOf(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: unknown }; name?: string };
  if (typeof cause?.code === "string") return cause.code;
  return name === "TimeoutError" ? "no answer in time" : "no connection";
}
