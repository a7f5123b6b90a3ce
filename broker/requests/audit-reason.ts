/** What the audit log says of why something was refused or failed. */
import type { ClaimcheckError } from "../../shared/errors.ts";
import type { AuditRecord } from "../audit/record.ts";

type AuditReason = Required<Pick<AuditRecord, "code">> & Pick<AuditRecord, "rule">;

export const auditReason = ({
  reason,
  rule,
}: {
  reason: string;
  rule?: string | undefined;
}): AuditReason => ({
  code: reason,
  ...(rule !== undefined && { rule }),
});

/**
 * The same for one item of a batch. A reason that is no item's own is every item's; otherwise an item against which
 * nothing was found is `batch_refused`.
 */
export function auditReasonOfItem(error: ClaimcheckError, index: number): AuditReason {
  if (error.failures.length === 0) return auditReason(error);
  const own = error.failures.find((failure) => failure.index === index);
  return own ? auditReason(own) : { code: "batch_refused" };
}
