/** Whether a broker could read a secret's URI, as far as its text alone tells. */
import { createResolver } from "../../broker/resolve/resolver.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";
import { takeParameter } from "../../shared/uri.ts";
import { userProviders } from "./providers.ts";

/** @returns a function that throws a Failure `usage` for a URI of an unknown scheme, or one that its scheme does not accept. */
export function uriChecker(environment: NodeJS.ProcessEnv): (uri: string) => void {
  const resolver = createResolver(userProviders(environment));
  return (uri) => {
    try {
      // Which sources exist, only the plan's broker knows.
      resolver.parse("local", takeParameter(uri, "source").uri);
    } catch (thrown) {
      if (!(thrown instanceof ClaimcheckError)) throw thrown;
      const title = thrown.message.replace(/\.$/, "");
      throw new Failure("usage", { detail: `${title}: ${thrown.detail}`, cause: thrown });
    }
  };
}
