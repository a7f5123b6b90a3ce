/**
 * Handles in this process's memory: for one broker, embedded or alone. A restart voids every open handle.
 * JavaScript runs a function without await to its end, which is what makes `take` atomic here.
 */
import { type HandleStore, type OpenHandle, type Redemption, repeatWindow } from "./store.ts";

interface Kept {
  readonly handle: OpenHandle;
  left: number;
}

interface Done {
  readonly redemption: Redemption;
  readonly jtis: readonly string[];
  readonly kept: readonly Kept[];
  readonly until: number;
}

export function memoryStore(): HandleStore {
  const handles = new Map<string, Kept>();
  const redemptions = new Map<string, Done>();
  const proofs = new Map<string, number>();

  const now = () => Date.now() / 1000;
  const keyOf = (tenant: string, id: string) => `${tenant}\0${id}`;

  let forgotten = 0;

  /** Frees memory, at most once a second; whether something has expired is asked where it matters. */
  function forgetExpired(): void {
    const time = now();
    if (time - forgotten < 1) return;
    forgotten = time;
    for (const [key, { handle }] of handles) if (handle.expires <= time) handles.delete(key);
    for (const [key, { until }] of redemptions) if (until <= time) redemptions.delete(key);
    for (const [key, expires] of proofs) if (expires <= time) proofs.delete(key);
  }

  function find(tenant: string, jti: string): Kept | undefined {
    const kept = handles.get(keyOf(tenant, jti));
    return kept && kept.handle.expires > now() ? kept : undefined;
  }

  return {
    async put(added) {
      forgetExpired();
      for (const handle of added)
        handles.set(keyOf(handle.tenant, handle.jti), { handle, left: handle.uses });
    },

    async look(tenant, jtis) {
      return jtis.map((jti) => find(tenant, jti)?.handle);
    },

    async take(redemption, jtis) {
      forgetExpired();
      const key = keyOf(redemption.tenant, redemption.id);
      const before = redemptions.get(key);
      if (before && before.until > now()) {
        if (!isSame(before, redemption, jtis)) return { outcome: "conflict" };
        return { outcome: "repeat", handles: before.kept.map(({ handle }) => handle) };
      }

      const wanted = jtis.map((jti) => find(redemption.tenant, jti));
      const left = new Map<Kept, number>();
      const unknown: number[] = [];
      const spent: number[] = [];
      const kept: Kept[] = [];
      for (const [index, found] of wanted.entries()) {
        if (!found) {
          unknown.push(index);
          continue;
        }
        const uses = (left.get(found) ?? found.left) - 1;
        left.set(found, uses);
        if (uses < 0) spent.push(index);
        kept.push(found);
      }
      if (unknown.length > 0 || spent.length > 0) return { outcome: "refused", unknown, spent };

      for (const [found, uses] of left) found.left = uses;
      redemptions.set(key, { redemption, jtis, kept, until: now() + repeatWindow });
      return { outcome: "taken", handles: kept.map(({ handle }) => handle) };
    },

    async giveBack(redemption) {
      const key = keyOf(redemption.tenant, redemption.id);
      const done = redemptions.get(key);
      if (!done) return;
      redemptions.delete(key);
      for (const kept of done.kept) kept.left += 1;
    },

    async rememberProof(jti, expires) {
      forgetExpired();
      if ((proofs.get(jti) ?? 0) > now()) return false;
      proofs.set(jti, expires);
      return true;
    },
  };
}

function isSame(done: Done, redemption: Redemption, jtis: readonly string[]): boolean {
  return (
    done.redemption.principal === redemption.principal &&
    done.redemption.jkt === redemption.jkt &&
    done.jtis.length === jtis.length &&
    done.jtis.every((jti, index) => jti === jtis[index])
  );
}
