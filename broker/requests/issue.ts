/** Issuing: authorize, resolve, record, and only then let the handles out. */
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
import type { Secret } from "../../shared/secret.ts";
import type { IssueItem, IssueRequest, IssueResponse } from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import type { Account } from "../quota/budget.ts";
import type { ResolvableReference } from "../resolve/resolver.ts";
import { auditReasonOfItem } from "./audit-reason.ts";
import { type About, authorize, type Granted } from "./authorize.ts";
import { makeHandles } from "./make-handles.ts";
import { openSourceTokens } from "./source-tokens.ts";

export async function issue(
  broker: Broker,
  caller: Caller,
  { secrets, run, sourceTokens }: IssueRequest,
  request: string,
  account?: Account,
): Promise<IssueResponse> {
  const { tenant, principal } = caller;
  const about = {
    action: "issue" as const,
    tenant,
    principal,
    request,
    ...(run !== undefined && { run }),
  };
  const granted = await authorize(broker, caller, about, secrets, {
    reference: ({ uri }: IssueItem) => broker.resolver.locate(tenant, broker.resolver.parse(tenant, uri)),
    uri: ({ uri }) => uri,
  });

  let values: Secret[];
  try {
    const requester = await openSourceTokens(broker, caller, sourceTokens);
    values = await broker.resolver.resolve(
      caller.tenant,
      granted.map(({ reference }) => reference),
      account,
      requester,
    );
  } catch (thrown) {
    const error = asClaimcheckError(thrown);
    await broker.audit.record(
      granted.map(({ reference, rule }, index) => ({
        ...about,
        uri: reference.canonical,
        rule,
        outcome: "failed",
        ...auditReasonOfItem(error, index),
      })),
    );
    throw thrown;
  }
  await refuseSeeds(broker, about, granted, values);
  return makeHandles(broker, caller, about, granted, values);
}

/** What one-time passwords are made of is worth more than one of them, and takes a rule that says so. */
async function refuseSeeds(
  { resolver, audit }: Broker,
  about: About & { readonly tenant: string },
  granted: readonly Granted<ResolvableReference>[],
  values: readonly Secret[],
): Promise<void> {
  const seeds = [...granted.entries()].filter(
    ([index, { reference, limits }]) =>
      !limits.totpSeeds && resolver.isTotpSeed(about.tenant, reference, values[index] as Secret),
  );
  if (seeds.length === 0) return;
  for (const value of values) value.wipe();
  await audit.record(
    seeds.map(([, { reference, rule }]) => {
      return { ...about, uri: reference.canonical, rule, outcome: "denied", code: "totp_seed" };
    }),
  );
  throw new ClaimcheckError("forbidden", {
    failures: seeds.map(([index, { reference }]) => {
      const detail = `${reference.shown} is what one-time passwords are made of; ask for ?attribute=otp`;
      return new ClaimcheckError("forbidden", { detail }).at(index);
    }),
  });
}
