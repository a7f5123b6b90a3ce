/** Issuing: authorise, resolve, record, and only then let the handles out. */
import { asClaimcheckError } from "../shared/errors.ts";
import type { Secret } from "../shared/secret.ts";
import type { IssueItem, IssueRequest, IssueResponse } from "../shared/wire.ts";
import { blameItem } from "./blame.ts";
import type { Broker } from "./broker.ts";
import type { Caller } from "./caller.ts";
import { deliver } from "./deliver.ts";
import { type About, authorise } from "./grant.ts";

export async function issue(
  broker: Broker,
  caller: Caller,
  { secrets, run }: IssueRequest,
  request: string,
): Promise<IssueResponse> {
  const { tenant, principal } = caller;
  const about: About = { action: "issue", tenant, principal, request, ...(run !== undefined && { run }) };
  const granted = await authorise(broker, caller, about, secrets, {
    reference: ({ uri }: IssueItem) => broker.resolver.parse(uri),
    uri: ({ uri }) => uri,
  });

  let values: Secret[];
  try {
    values = await broker.resolver.resolve(
      caller.tenant,
      granted.map(({ reference }) => reference),
    );
  } catch (thrown) {
    const error = asClaimcheckError(thrown);
    await broker.audit.record(
      granted.map(({ reference, rule }, index) => ({
        ...about,
        uri: reference.canonical,
        rule,
        outcome: "failed",
        ...blameItem(error, index),
      })),
    );
    throw thrown;
  }
  return deliver(broker, caller, about, granted, values);
}
