/** A provider as the resolver uses it: what a URI comes to. */
import type { Provider, SecretReference } from "../../broker/providers/provider.ts";
import { createResolver, type Resolver } from "../../broker/resolve/resolver.ts";
import { ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";

export type Got = string | Pick<ItemFailure, "code" | "detail">;

const tenant = "acme";

/** What each URI comes to in one request: its value as text (Latin-1, so that no byte is lost), or its failure. */
export async function resolveEach(resolver: Resolver, uris: readonly string[]): Promise<Got[]> {
  const references = uris.map((uri) => resolver.parse(tenant, uri));
  const parts = await Promise.all(
    references.map((reference) =>
      resolver
        .locate(tenant, reference)
        .then((located) => resolver.resolve(tenant, [located]))
        .then(
          ([value]) => Buffer.from(value!.expose()).toString("latin1"),
          (thrown: unknown): Got => {
            if (!(thrown instanceof ClaimcheckError)) throw thrown;
            const { code, detail } = thrown.failures[0]!;
            return { code, ...(detail !== undefined && { detail }) };
          },
        ),
    ),
  );
  return parts;
}

/** For tests of one provider. */
export function reader<Reference extends SecretReference>(provider: Provider<Reference>) {
  const resolver = createResolver([provider as unknown as Provider]);
  return {
    parse: (uri: string) => resolver.parse(tenant, uri),
    read: (...uris: string[]) => resolveEach(resolver, uris),
  };
}
