/**
 * Wrapping: handles for values that the requester brings itself. To the policy such a value is `wrap://` and the
 * name that the requester gives it, at issue and at redemption.
 */
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import type { Secret } from "../../shared/secret.ts";
import { splitSource } from "../../shared/source-name.ts";
import { head } from "../../shared/uri.ts";
import type { IssueResponse, WrapItem, WrapRequest } from "../../shared/wire.ts";
import { unwrapValue } from "../../shared/wrapping.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { auditReasonOfItem } from "./audit-reason.ts";
import { type About, authorize } from "./authorize.ts";
import { makeHandles } from "./make-handles.ts";

const scheme = "wrap";

export async function wrap(
  broker: Broker,
  caller: Caller,
  { secrets, run }: WrapRequest,
  request: string,
): Promise<IssueResponse> {
  const { tenant, principal } = caller;
  const about: About = { action: "wrap", tenant, principal, request, ...(run !== undefined && { run }) };
  const uri = ({ name = "" }: WrapItem) => `${scheme}://${name}`;
  const granted = await authorize(broker, caller, about, secrets, {
    reference: (item) => {
      const shown = `${scheme}://${head(item.name ?? "")}`;
      // The policy would take the end of such a name for the name of a source.
      if (splitSource(uri(item)).source !== undefined) {
        throw new ClaimcheckError("invalid_request", {
          detail: `${shown}: a name does not end in "source=…"`,
        });
      }
      return { scheme, canonical: uri(item), shown };
    },
    uri,
  });
  const opened = await Promise.allSettled(secrets.map((item) => decrypt(broker, caller, item)));
  const values = opened.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const errors = opened.map((each) =>
    each.status === "rejected" ? asClaimcheckError(each.reason) : undefined,
  );
  if (values.length < opened.length) {
    const failures = errors.flatMap((error, index): ItemFailure[] => (error ? [error.at(index)] : []));
    const cause = errors.find(Boolean)?.cause;
    const refusal = new ClaimcheckError("invalid_value", { failures, cause });
    for (const value of values) value.wipe();
    await broker.audit.record(
      granted.map(({ reference, rule }, index) => ({
        ...about,
        uri: reference.canonical,
        rule,
        outcome: "denied",
        ...auditReasonOfItem(refusal, index),
      })),
    );
    throw refusal;
  }
  return makeHandles(broker, caller, about, granted, values);
}

const decrypt = (
  { keys, url }: Broker,
  { accessToken }: Caller,
  { value, audience, jkt }: WrapItem,
): Promise<Secret> => unwrapValue(value, { iss: url, accessToken, audience, jkt }, keys.findDecryptionKey);
