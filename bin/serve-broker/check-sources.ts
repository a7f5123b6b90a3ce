/** Tries the log-in of each source, for each of its tenants: what `claimcheck broker check` does beside reading the files. */
import type { Source } from "../../broker/resolve/source.ts";
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";

/** For one log-in, in milliseconds: 1Password's takes most of a second. */
const timeLimit = 20_000;

export interface TriedLogIn {
  readonly name: string;
  /** Missing where it went well. */
  readonly failure?: string;
}

export async function tryLogIns(sources: readonly Source[]): Promise<TriedLogIn[]> {
  const tried = await Promise.all(sources.map(tryLogIn));
  return tried.flatMap((each) => each ?? []);
}

/** All tenants of a source log in with the same credentials, so one stands for all. */
async function tryLogIn(source: Source): Promise<TriedLogIn | undefined> {
  const { name = "", tenants = [], byRequester, open } = source;
  if (byRequester) return undefined;
  const provider = open(tenants[0] ?? "");
  if (!provider.logIn) return undefined;
  try {
    await Promise.race([provider.logIn(AbortSignal.timeout(timeLimit)), late()]);
    return { name };
  } catch (thrown) {
    const { code, detail } = asClaimcheckError(thrown);
    return { name, failure: `${detail ?? "it failed"} [${code}]` };
  } finally {
    await provider.close?.();
  }
}

function late(): Promise<never> {
  return new Promise((_, reject) => {
    const refuse = () => reject(new ClaimcheckError("provider_timeout"));
    setTimeout(refuse, timeLimit + 1_000).unref();
  });
}
