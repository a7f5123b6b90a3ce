/** What lies between a request's URIs and the providers: the same for every scheme. */
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../shared/errors.ts";
import { Secret } from "../shared/secret.ts";
import { splitParameters, splitUri } from "../shared/uri.ts";
import type { Provider, SecretReference } from "./providers/provider.ts";

/** The largest value that is accepted from a provider, in bytes. */
const sizeLimit = 1024 * 1024;

/** A reference with what the URI asks to be done with the value. */
export interface ResolvableReference extends SecretReference {
  readonly source: SecretReference;
  readonly trimNewline: boolean;
}

export type Resolver = ReturnType<typeof createResolver>;

export function createResolver(providers: readonly Provider[]) {
  const byScheme = new Map(providers.map((provider) => [provider.scheme, provider]));

  return {
    /** @throws {ClaimcheckError} `invalid_uri` or `unknown_scheme`. */
    parse(uri: string): ResolvableReference {
      const { scheme, rest } = splitUri(uri);
      const provider = byScheme.get(scheme);
      if (!provider) {
        const known = [...byScheme.keys()].map((name) => `${name}://`).join(", ");
        throw new ClaimcheckError("unknown_scheme", { detail: `known here: ${known}` });
      }
      const { path, parameters } = splitParameters(rest, ["trim"]);
      const trim = parameters.get("trim");
      if (trim !== undefined && trim !== "newline") {
        throw new ClaimcheckError("invalid_uri", { detail: 'the one value of "trim" is "newline"' });
      }
      const source = provider.parse(path);
      const { canonical, shown } = source;
      return { scheme, canonical, shown, source, trimNewline: trim !== undefined };
    },

    /**
     * All or nothing, and every failure is reported.
     *
     * @returns the values in the order of the references, each to be wiped by the caller.
     * @throws {ClaimcheckError} `secrets_unavailable`, with the failures by index.
     */
    async resolve(references: readonly ResolvableReference[]): Promise<Secret[]> {
      const read = await Promise.all(
        [...byScheme.values()].map((provider) => readScheme(provider, references)),
      );
      const results = new Map(read.flat());
      const values: Secret[] = [];
      const failures: ItemFailure[] = [];
      for (const [index, reference] of references.entries()) {
        const result = results.get(index) ?? new ClaimcheckError("internal");
        if (result instanceof Secret) values.push(finish(result, reference));
        else failures.push(result.at(index));
      }
      if (failures.length > 0) {
        for (const value of values) value.wipe();
        throw new ClaimcheckError("secrets_unavailable", { failures });
      }
      return values;
    },
  };
}

async function readScheme(
  provider: Provider,
  references: readonly ResolvableReference[],
): Promise<[index: number, result: Secret | ClaimcheckError][]> {
  const mine = [...references.entries()].filter(([, { scheme }]) => scheme === provider.scheme);
  if (mine.length === 0) return [];
  try {
    const results = await provider.read(mine.map(([, { source }]) => source));
    return mine.map(([index], nth) => [index, bounded(results[nth])]);
  } catch (thrown) {
    return mine.map(([index]) => [index, asClaimcheckError(thrown)]);
  }
}

function bounded(result: Secret | ClaimcheckError | undefined): Secret | ClaimcheckError {
  if (!(result instanceof Secret)) return result ?? new ClaimcheckError("internal");
  if (result.expose().length <= sizeLimit) return result;
  result.wipe();
  return new ClaimcheckError("secret_too_large", { detail: `the limit is ${sizeLimit} bytes` });
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
