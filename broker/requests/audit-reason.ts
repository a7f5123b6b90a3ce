/** What the audit log says of why something was refused or failed. */
import type { ClaimcheckError } from "../../shared/errors.ts";
import type { AuditRecord } from "../audit/record.ts";

type Blame = Required<Pick<AuditRecord, "code">> & Pick<AuditRecord, "rule">;

export const blame = ({ reason, rule }: { reason: string; rule?: string | undefined }): Blame => ({
  code: reason,
  ...(rule !== undefined && { rule }),
});

/**
 * The same for one item of a batch. A reason that is no item's own is every item's; otherwise an item against which
 * nothing was found is `batch_refused`.
 */
export function blameItem(error: ClaimcheckError, index: number): Blame {
  if (error.failures.length === 0) return blame(error);
  const own = error.failures.find((failure) => failure.index === index);
  return own ? blame(own) : { code: "batch_refused" };
}
