/**
 * How many bytes of this process a tenant may hold at a time. Quotas count how often somebody asks; what one request
 * holds until it is answered, or a value until it expires, is counted here, so that no tenant can take the memory that
 * the others need. Where several replicas serve a tenant, each counts what it holds itself.
 */
import { ClaimcheckError } from "../../shared/errors.ts";

const mib = 1024 * 1024;

/** All values together that one request may ask for, or redeem, in bytes. */
export const requestValueLimit = 16 * mib;

export interface BudgetLimits {
  /** Bodies and values of requests that are not answered yet, or whose answers were not read yet. */
  readonly underWay: number;
  /** Sealed values and records of handles, until they expire. */
  readonly open: number;
}

export const defaultBudgets: BudgetLimits = { underWay: 64 * mib, open: 256 * mib };

/** What one request holds. */
export interface Account {
  /** @throws {ClaimcheckError} `quota_exceeded` where the tenant has no room for so many more bytes. */
  grow(bytes: number): void;
  /** Gives back everything; harmless when repeated. */
  close(): void;
}

export type Budgets = ReturnType<typeof createBudgets>;

export function createBudgets(limits: BudgetLimits = defaultBudgets) {
  const underWay = createTenants("requests under way", limits.underWay);
  const open = createTenants("open handles", limits.open);
  /** By the second in which they expire: what each tenant gets back then. */
  const expiring = new Map<number, Map<string, number>>();

  function sweep(): void {
    const now = Date.now() / 1000;
    for (const [second, tenants] of expiring) {
      if (second > now) continue;
      for (const [tenant, bytes] of tenants) open.add(tenant, -bytes);
      expiring.delete(second);
    }
  }

  return {
    account(tenant: string): Account {
      let held = 0;
      let closed = false;
      return {
        grow(bytes) {
          if (closed) return;
          underWay.add(tenant, bytes);
          held += bytes;
        },
        close() {
          closed = true;
          underWay.add(tenant, -held);
          held = 0;
        },
      };
    },

    /**
     * @param until seconds since 1970; rounded up to whole minutes, so that there are few of them.
     * @throws {ClaimcheckError} `quota_exceeded` where the tenant has no room for so many more bytes.
     */
    holdOpen(tenant: string, bytes: number, until: number): void {
      sweep();
      open.add(tenant, bytes);
      const minute = Math.ceil(until / 60) * 60;
      const tenants = expiring.get(minute) ?? new Map<string, number>();
      expiring.set(minute, tenants.set(tenant, (tenants.get(tenant) ?? 0) + bytes));
    },
  };
}

function createTenants(what: string, limit: number) {
  const held = new Map<string, number>();
  return {
    add(tenant: string, bytes: number): void {
      const sum = (held.get(tenant) ?? 0) + bytes;
      if (bytes > 0 && sum > limit) {
        throw new ClaimcheckError("quota_exceeded", {
          detail: `${what}: the tenant may hold ${limit} bytes at a time`,
          reason: "bytes_exceeded",
        });
      }
      if (sum > 0) held.set(tenant, sum);
      else held.delete(tenant);
    },
  };
}

export const valuesTooLarge = () =>
  new ClaimcheckError("values_too_large", {
    detail: `one request can carry ${requestValueLimit} bytes; use several`,
  });

/** How long one who is told so is asked to wait, in seconds. */
export const budgetPause = 5;
