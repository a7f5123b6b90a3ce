/** What lies between a request's URIs and the sources: the same for every scheme. */
import { readDuration } from "../../shared/duration.ts";
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { withSource } from "../../shared/source-name.ts";
import { head, splitParameters, splitUri } from "../../shared/uri.ts";
import type { Provider, ReadResult, SecretReference } from "../providers/provider.ts";
import { schemes } from "../providers/schemes.ts";
import { type Account, requestValueLimit, valuesTooLarge } from "../quota/budget.ts";
import { createSharedRead, type Observer, type SharedRead } from "./shared-read.ts";
import { isFor, type Requester, type Source, unnamed } from "./source.ts";

/** A reference with what the URI asks to be done with the value. */
export interface ResolvableReference extends SecretReference {
  /** As its provider has parsed it. */
  readonly own: SecretReference;
  /** Where it is read; the source stays the same when the configuration changes meanwhile. */
  readonly from: SharedRead;
  readonly trimNewline: boolean;
  /** `?ttl=`, in milliseconds: how long ago the value may have been read. */
  readonly maxAge?: number;
}

interface ResolverSettings {
  /** How long a value that was read may be given out again, in seconds. Not at all where it is missing. */
  readonly cacheTtl?: number;
  readonly observer?: Observer;
}

/** How long a source that was replaced may still be read from, in milliseconds: longer than any read takes. */
const farewell = 60_000;
/** For finding out what a name stands for, in milliseconds. */
const locateLimit = 5_000;

export type Resolver = ReturnType<typeof createResolver>;

/** Of what a scheme may be, what no password is: a misspelt one is shown whole. */
const likeScheme = /^[a-z]{1,9}(\+[a-z]{2})?$/;

/** @param sources providers are sources without a name, for every tenant. */
export function createResolver(
  sources: readonly (Source | Provider)[],
  { cacheTtl = 0, observer }: ResolverSettings = {},
) {
  const read = (source: Source | Provider) =>
    createSharedRead("open" in source ? source : unnamed(source), cacheTtl * 1000, observer);
  let current = sources.map(read);

  /** The tenant hears of its own sources only. */
  function choose(tenant: string, scheme: string, rest: string) {
    const known = current.filter(({ source }) => isFor(source, tenant));
    const candidates = known.filter(({ source }) => source.scheme === scheme);
    const [first] = candidates;
    if (!first) {
      const names = [...new Set(known.map(({ source }) => `${source.scheme}://`))];
      throw new ClaimcheckError("unknown_scheme", {
        detail: `${likeScheme.test(scheme) ? scheme : head(scheme)}://; known here: ${names.join(", ")}`,
      });
    }
    const { parameters: own, freeParameters } = first.providerOf(tenant);
    const further = candidates.some(({ source }) => source.name !== undefined) ? ["source"] : [];
    const { path, parameters } = own
      ? splitParameters(rest, ["trim", "ttl", ...own, ...further], freeParameters)
      : { path: rest, parameters: new Map<string, string>() };
    return { from: pick(candidates, scheme, parameters.get("source")), path, parameters };
  }

  return {
    /** @throws {ClaimcheckError} `invalid_uri` or `unknown_scheme`. */
    parse(tenant: string, uri: string): ResolvableReference {
      const { scheme, rest } = splitUri(uri);
      const { from, path, parameters } = choose(tenant, scheme, rest);
      const trimNewline = readTrim(parameters.get("trim"));
      const maxAge = readTtl(parameters.get("ttl"));
      const provider = from.providerOf(tenant);
      const own = provider.parse(path, parameters);
      // What no rule has allowed yet may be a value that somebody pasted.
      const shown = `${scheme}://${head(path)}`;
      const canonical = withSource(own.canonical, from.source.name);
      // It is in every record about it. What is confidential is there as a hash.
      if (!isConfidential(canonical)) refuseLong(canonical, shown);
      return { scheme, canonical, shown, own, from, trimNewline, ...(maxAge !== undefined && { maxAge }) };
    },

    /** What the policy decides about: some names stand for something else, such as links of a file system. */
    async locate(tenant: string, reference: ResolvableReference): Promise<ResolvableReference> {
      const { from, shown } = reference;
      const provider = from.providerOf(tenant);
      if (!provider.locate) return reference;
      const own = await inTime(provider.locate(reference.own));
      const canonical = withSource(own.canonical, from.source.name);
      refuseLong(canonical, shown);
      return { ...reference, own, canonical };
    },

    isConfidential,

    /** Whether a reference's value is what one-time passwords are made of. */
    isTotpSeed: (tenant: string, { from }: ResolvableReference, value: Secret): boolean =>
      from.providerOf(tenant).isTotpSeed?.(value.expose()) ?? false,

    /**
     * All or nothing, and every failure is reported.
     *
     * @param tenant whose secrets these are: nothing that was read for one is given to another.
     * @returns the values in the order of the references, each to be wiped by the caller.
     * @param account pays for the values.
     * @param requester whose tokens go to the sources that are read with one.
     * @returns the values in the order of the references, each to be wiped by the caller; one for all that are alike.
     * @throws {ClaimcheckError} `secrets_unavailable`, with the failures by index; `values_too_large`.
     */
    async resolve(
      tenant: string,
      references: readonly ResolvableReference[],
      account?: Account,
      requester?: Requester,
    ): Promise<Secret[]> {
      const alike = new Map<string, Promise<ReadResult>>();
      const purse = createPurse(account);
      const read = async (reference: ResolvableReference): Promise<ReadResult> => {
        const { from, own, maxAge } = reference;
        const result = await from.read(tenant, own, maxAge, requester);
        if (!(result instanceof Secret)) return result;
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

    /**
     * Puts others into the place of the sources. One that stays the same object keeps its log-ins, its circuits and what
     * it remembers. What is under way is read from the old ones.
     */
    replace(sources: readonly Source[]): void {
      const before = current;
      current = sources.map((source) => before.find((each) => each.source === source) ?? read(source));
      for (const old of before.filter((each) => !current.includes(each))) {
        setTimeout(() => void old.close(), farewell).unref();
      }
    },

    /** Sources that nobody asks now, because they failed. */
    failing: (): Source[] => current.filter((each) => each.openCircuits() > 0).map(({ source }) => source),

    async close(): Promise<void> {
      await Promise.all(current.map((each) => each.close()));
    },
  };
}

/** The source that a URI means. */
function pick(candidates: readonly SharedRead[], scheme: string, named: string | undefined): SharedRead {
  const choices = candidates
    .flatMap(({ source }) => (source.name === undefined ? [] : [`source=${source.name}`]))
    .join(" or ");
  if (named === undefined) {
    const plain = candidates.find(({ source }) => source.name === undefined);
    if (plain || candidates.length === 1) return plain ?? (candidates[0] as SharedRead);
    const detail = `${scheme}:// can mean more than one source here: add ${choices} to the URI`;
    throw new ClaimcheckError("invalid_uri", { detail });
  }
  const found = candidates.find(({ source }) => source.name === named);
  if (found) return found;
  throw new ClaimcheckError("invalid_uri", {
    detail: `"source=${head(named)}" names no source of ${scheme}:// here; there is ${choices}`,
  });
}

/** Whether this canonical URI may hold a secret itself; also one that is not read here any more. */
function isConfidential(canonical: string): boolean {
  const scheme = canonical.slice(0, canonical.indexOf("://"));
  return schemes.some(({ name, confidential }) => confidential && name === scheme);
}

/** In bytes. */
const longestUri = 1024;

function refuseLong(canonical: string, shown: string): void {
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
