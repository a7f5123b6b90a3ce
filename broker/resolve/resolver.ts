/** What lies between a request's URIs and the sources: the same for every scheme. */
import { readDuration } from "../../shared/duration.ts";
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { head, splitParameters, splitUri } from "../../shared/uri.ts";
import type { Provider, ReadResult, SecretReference } from "../providers/provider.ts";
import { type Account, requestValueLimit, valuesTooLarge } from "../quota/budget.ts";
import { createSharedRead, type Observer } from "./shared-read.ts";

/** A reference with what the URI asks to be done with the value. */
export interface ResolvableReference extends SecretReference {
  readonly source: SecretReference;
  readonly trimNewline: boolean;
  /** `?ttl=`, in milliseconds: how long ago the value may have been read. */
  readonly maxAge?: number;
}

interface Settings {
  /** How long a value that was read may be given out again, in seconds. Not at all where it is missing. */
  readonly cacheTtl?: number;
  readonly observer?: Observer;
}

/** For finding out what a name stands for, in milliseconds. */
const locateLimit = 5_000;

export type Resolver = ReturnType<typeof createResolver>;

export function createResolver(providers: readonly Provider[], { cacheTtl = 0, observer }: Settings = {}) {
  const sources = new Map(
    providers.map((provider) => [provider.scheme, createSharedRead(provider, cacheTtl * 1000, observer)]),
  );

  return {
    /** @throws {ClaimcheckError} `invalid_uri` or `unknown_scheme`. */
    parse(uri: string): ResolvableReference {
      const { scheme, rest } = splitUri(uri);
      const provider = sources.get(scheme)?.provider;
      if (!provider) {
        const known = [...sources.keys()].map((name) => `${name}://`).join(", ");
        throw new ClaimcheckError("unknown_scheme", { detail: `known here: ${known}` });
      }
      const { path, parameters } = provider.parameters
        ? splitParameters(rest, ["trim", "ttl", ...provider.parameters])
        : { path: rest, parameters: new Map<string, string>() };
      const trimNewline = readTrim(parameters.get("trim"));
      const maxAge = readTtl(parameters.get("ttl"));
      const source = provider.parse(path, parameters);
      const { canonical } = source;
      // It is in every record about it. What is confidential is there as a hash.
      if (!provider.confidential) refuseLong(source);
      // What no rule has allowed yet may be a value that somebody pasted.
      return {
        scheme,
        canonical,
        shown: `${scheme}://${head(path)}`,
        source,
        trimNewline,
        ...(maxAge !== undefined && { maxAge }),
      };
    },

    /** What the policy decides about: some names stand for something else, such as links of a file system. */
    async locate(reference: ResolvableReference): Promise<ResolvableReference> {
      const provider = sources.get(reference.scheme)?.provider;
      if (!provider?.locate) return reference;
      const source = await inTime(provider.locate(reference.source));
      refuseLong(source);
      return { ...reference, source, canonical: source.canonical };
    },

    /** Whether this canonical URI may hold a secret itself. */
    isConfidential: (canonical: string): boolean =>
      sources.get(canonical.slice(0, canonical.indexOf("://")))?.provider.confidential ?? false,

    /** Whether a reference's value is what one-time passwords are made of. */
    isTotpSeed: ({ scheme }: SecretReference, value: Secret): boolean =>
      sources.get(scheme)?.provider.isTotpSeed?.(value.expose()) ?? false,

    /**
     * All or nothing, and every failure is reported.
     *
     * @param tenant whose secrets these are: nothing that was read for one is given to another.
     * @returns the values in the order of the references, each to be wiped by the caller.
     * @param account pays for the values.
     * @returns the values in the order of the references, each to be wiped by the caller; one for all that are alike.
     * @throws {ClaimcheckError} `secrets_unavailable`, with the failures by index; `values_too_large`.
     */
    async resolve(
      tenant: string,
      references: readonly ResolvableReference[],
      account?: Account,
    ): Promise<Secret[]> {
      const alike = new Map<string, Promise<ReadResult>>();
      const purse = createPurse(account);
      const read = async (reference: ResolvableReference): Promise<ReadResult> => {
        const { scheme, source, maxAge } = reference;
        const result = await sources.get(scheme)?.read(tenant, source, maxAge);
        if (!(result instanceof Secret)) return result ?? new ClaimcheckError("internal");
        return purse.pay(finish(result, reference));
      };
      const results = await Promise.all(
        references.map((reference) => {
          const { canonical, maxAge, trimNewline } = reference;
          const key = JSON.stringify([canonical, maxAge, trimNewline]);
          const result = alike.get(key) ?? read(reference);
          alike.set(key, result);
          return result;
        }),
      );
      const values: Secret[] = [];
      const failures: ItemFailure[] = [];
      for (const [index, result] of results.entries()) {
        if (result instanceof Secret) values.push(result);
        else failures.push(result.at(index));
      }
      if (failures.length > 0) {
        for (const value of values) value.wipe();
        if (purse.refusal) throw purse.refusal;
        throw new ClaimcheckError("secrets_unavailable", { failures });
      }
      return values;
    },

    async close(): Promise<void> {
      await Promise.all(providers.map((provider) => provider.close?.()));
    },
  };
}

/** In bytes. */
const longestUri = 1024;

function refuseLong({ canonical, shown }: SecretReference): void {
  if (Buffer.byteLength(canonical) <= longestUri) return;
  throw new ClaimcheckError("invalid_uri", { detail: `${shown}: it has more than ${longestUri} bytes` });
}

/** What one request can have: once it is too much, everything that still comes is wiped as it comes. */
function createPurse(account: Account | undefined) {
  let size = 0;
  return {
    refusal: undefined as ClaimcheckError | undefined,
    pay(value: Secret): ReadResult {
      try {
        if (this.refusal) throw this.refusal;
        const { length } = value.expose();
        size += length;
        if (size > requestValueLimit) throw valuesTooLarge();
        account?.grow(length);
        return value;
      } catch (thrown) {
        value.wipe();
        this.refusal = asClaimcheckError(thrown);
        return this.refusal;
      }
    },
  };
}

/** A file system that does not answer holds up nobody for longer. */
async function inTime<T>(found: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ClaimcheckError("provider_timeout")), locateLimit);
  });
  return Promise.race([found, late]).finally(() => clearTimeout(timer));
}

function readTrim(trim: string | undefined): boolean {
  if (trim !== undefined && trim !== "newline") {
    throw new ClaimcheckError("invalid_uri", { detail: 'the one value of "trim" is "newline"' });
  }
  return trim !== undefined;
}

/** `90`, `90s`, `15m`, `2h` or `1d`. */
function readTtl(ttl: string | undefined): number | undefined {
  if (ttl === undefined) return undefined;
  const seconds = /^(0|[1-9]\d{0,6})[smhd]?$/.test(ttl) ? readDuration(ttl) : undefined;
  if (seconds === undefined) {
    throw new ClaimcheckError("invalid_uri", { detail: '"ttl" is a time such as 0, 90s, 15m or 2h' });
  }
  return seconds * 1000;
}

/** `?trim=newline` removes one final LF or CRLF. */
function finish(value: Secret, { trimNewline }: ResolvableReference): Secret {
  const bytes = value.expose();
  if (!trimNewline || bytes.at(-1) !== 0x0a) return value;
  // A copy: `slice` of a Buffer would be a view of the bytes that are wiped next.
  const trimmed = new Secret(Uint8Array.from(bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1)));
  value.wipe();
  return trimmed;
}
