/**
 * A write to the log is shared by all who wait for it, and so are its length and the work that follows. So that one
 * tenant with many requests does not make all others wait for them, only so many of its own are in a write.
 */
import { createSemaphore, type Semaphore } from "../../shared/semaphore.ts";
import type { AuditLog } from "./log.ts";

const atOnce = 8;

export function shareFairly(log: AuditLog): AuditLog {
  const tenants = new Map<string, Semaphore>();

  return {
    ...log,
    async record(records) {
      const tenant = records[0]?.tenant ?? "";
      const turns = tenants.get(tenant) ?? createSemaphore(atOnce);
      tenants.set(tenant, turns);
      await turns.acquire();
      try {
        return await log.record(records);
      } finally {
        turns.release();
        if (turns.isIdle()) tenants.delete(tenant);
      }
    },
  };
}
