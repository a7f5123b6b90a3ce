/**
 * Handles in this process's memory: for one broker, embedded or alone. A restart voids every open handle.
 * JavaScript runs a function without await to its end, which is what makes `take` atomic here.
 */
import { randomUUID } from "node:crypto";
import { expiringMap } from "./expiring.ts";
import {
  type HandleStore,
  type OpenHandle,
  type Redemption,
  type Revocation,
  repeatWindow,
  type Taker,
} from "./store.ts";

interface Kept {
  readonly handle: OpenHandle;
  left: number;
  /** How many uses each taker took. */
  readonly takers: Map<string, number>;
  /** The number of the last revocation before it was put. */
  readonly born: number;
}

interface Done {
  readonly request: string;
  readonly attempt: string;
  readonly kept: readonly Kept[];
  repeated: boolean;
}

export function memoryStore(): HandleStore {
  const handles = expiringMap<Kept>();
  const redemptions = expiringMap<Done>();
  const proofs = expiringMap<true>();
  /** The number of the last revocation of each kind; kept for as long as a handle could fall under it. */
  const marks = expiringMap<number>();
  let revocations = 0;
  let longest = 0;

  const now = () => Date.now() / 1000;
  const keyOf = (...names: string[]) => JSON.stringify(names);

  function find(tenant: string, jti: string): Kept | undefined {
    const kept = handles.get(keyOf(tenant, jti));
    if (!kept) return undefined;
    const { subject, run } = kept.handle;
    const revoked = [keyOf(tenant, "all"), keyOf(tenant, "subject", subject)];
    if (run !== undefined) revoked.push(keyOf(tenant, "run", run));
    return revoked.some((mark) => (marks.get(mark) ?? 0) > kept.born) ? undefined : kept;
  }

  return {
    async put(added) {
      for (const handle of added) {
        const key = keyOf(handle.tenant, handle.jti);
        if (handles.get(key)) continue;
        longest = Math.max(longest, handle.expires);
        const kept = { handle, left: handle.uses, takers: new Map(), born: revocations };
        handles.set(key, kept, handle.expires);
      }
    },

    async look(tenant, jtis, taker) {
      return jtis.map((jti) => {
        const kept = find(tenant, jti);
        if (!kept) return undefined;
        const { sealed, ...known } = kept.handle;
        const taken = taker !== undefined && (kept.takers.get(nameOf(taker)) ?? 0) > 0;
        return { ...known, left: kept.left, taken };
      });
    },

    async take(redemption, jtis) {
      const key = keyOf(redemption.tenant, redemption.id);
      const request = requestOf(redemption, jtis);
      const before = redemptions.get(key);
      if (before && before.request !== request) return { outcome: "conflict" };

      const left = new Map<Kept, number>();
      const unknown: number[] = [];
      const spent: number[] = [];
      const kept: Kept[] = [];
      for (const [index, jti] of jtis.entries()) {
        const found = find(redemption.tenant, jti);
        if (!found) {
          unknown.push(index);
          continue;
        }
        kept.push(found);
        if (before) continue;
        const uses = (left.get(found) ?? found.left) - 1;
        left.set(found, uses);
        if (uses < 0) spent.push(index);
      }
      if (unknown.length > 0 || spent.length > 0) return { outcome: "refused", unknown, spent };

      const taken = kept.map(({ handle }) => handle);
      if (before) {
        before.repeated = true;
        return { outcome: "repeat", handles: taken };
      }
      for (const each of kept) count(each, redemption, 1);
      const attempt = randomUUID();
      redemptions.set(key, { request, attempt, kept, repeated: false }, now() + repeatWindow);
      return { outcome: "taken", handles: taken, attempt };
    },

    async giveBack(redemption, attempt) {
      const key = keyOf(redemption.tenant, redemption.id);
      const done = redemptions.get(key);
      if (!done || done.repeated || done.attempt !== attempt) return;
      redemptions.delete(key);
      for (const each of done.kept) count(each, redemption, -1);
    },

    async revoke(tenant, revocation) {
      if ("jti" in revocation) return handles.delete(keyOf(tenant, revocation.jti));
      revocations += 1;
      marks.set(keyOf(tenant, ...markOf(revocation)), revocations, longest);
    },

    async rememberProof(jti, expires) {
      if (proofs.get(jti)) return false;
      proofs.set(jti, true, expires);
      return true;
    },

    size: () => handles.size,

    complaints: () => [],

    async close() {},
  };
}

function count(kept: Kept, taker: Taker, uses: 1 | -1): void {
  const name = nameOf(taker);
  kept.left -= uses;
  kept.takers.set(name, (kept.takers.get(name) ?? 0) + uses);
}

const nameOf = ({ principal, jkt, run }: Taker) => JSON.stringify([principal, jkt, run]);

const requestOf = (redemption: Redemption, jtis: readonly string[]) =>
  JSON.stringify([nameOf(redemption), jtis]);

function markOf(revocation: Exclude<Revocation, { jti: string }>): string[] {
  if ("subject" in revocation) return ["subject", revocation.subject];
  return "run" in revocation ? ["run", revocation.run] : ["all"];
}
