/** How handles and proofs end: with time, and by revocation. */
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Revocation } from "../../broker/store/store.ts";
import { fixtures, margin, now, type Subject } from "./fixtures.ts";

export function describeEnding({ create, elapse }: Subject): void {
  describe("a handle that expires", () => {
    test("is gone in that second, for looking and for taking", async () => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const brief = handle({ uses: 2, expires: now() + 100 });
      await store.put([brief]);
      await elapse(100 - margin);
      expect((await store.take(redemption(), [brief.jti])).outcome).toBe("taken");
      await elapse(margin);
      expect(await store.look(tenant, [brief.jti])).toEqual([undefined]);
      expect(await store.take(redemption(), [brief.jti])).toEqual({
        outcome: "refused",
        unknown: [0],
        spent: [],
      });
    });

    test("does not take the others with it", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const [brief, long] = [handle({ expires: now() + 10 }), handle({ expires: now() + 1000 })];
      await store.put([brief, long]);
      await elapse(500);
      expect((await store.take(redemption(), [long.jti])).outcome).toBe("taken");
    });
  });

  describe("a proof's jti", () => {
    test("is new once, also when many ask at once", async () => {
      const store = await create();
      const jti = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => store.rememberProof(jti, now() + 120)),
      );
      expect(answers.filter(Boolean)).toHaveLength(1);
    });

    test("is remembered for as long as was asked", async () => {
      const store = await create();
      const jti = randomUUID();
      await store.rememberProof(jti, now() + 120);
      await elapse(120 - margin);
      expect(await store.rememberProof(jti, now() + 120)).toBe(false);
    });

    test("is forgotten then, or memory would run full", async () => {
      const store = await create();
      const jti = randomUUID();
      await store.rememberProof(jti, now() + 120);
      await elapse(120);
      expect(await store.rememberProof(jti, now() + 120)).toBe(true);
    });
  });

  describe("a revocation", () => {
    test.each<[string, Revocation]>([
      ["of a principal", { subject: "ci" }],
      ["of a run", { run: "1842" }],
      ["of a tenant", { all: true }],
    ])("%s voids what was put before, and nothing that is put after", async (_, revocation) => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const [before, after] = [handle({ run: "1842" }), handle({ run: "1842" })];
      await store.put([before]);
      await store.revoke(tenant, revocation);
      await store.put([after]);
      const seen = await store.look(tenant, [before.jti, after.jti]);
      expect(seen.map((each) => each?.jti)).toEqual([undefined, after.jti]);
      expect(await store.take(redemption(), [after.jti, before.jti])).toEqual({
        outcome: "refused",
        unknown: [1],
        spent: [],
      });
      expect((await store.take(redemption(), [after.jti])).outcome).toBe("taken");
    });

    test.each<[string, Revocation]>([
      ["another principal's", { subject: "other" }],
      ["another run's", { run: "other" }],
      ["a run's that is called as the principal", { run: "ci" }],
      ["a principal's that is called as the run", { subject: "1842" }],
      ["another handle's", { jti: randomUUID() }],
    ])("that is %s leaves the rest as they are", async (_, revocation) => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const open = handle({ run: "1842" });
      await store.put([open]);
      await store.revoke(tenant, revocation);
      expect((await store.take(redemption(), [open.jti])).outcome).toBe("taken");
    });

    test("of everything leaves other tenants alone", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const open = handle();
      await store.put([open]);
      for (const revocation of [{ all: true }, { subject: "ci" }, { jti: open.jti }] as const) {
        await store.revoke(`rival-${randomUUID()}`, revocation);
      }
      expect((await store.take(redemption(), [open.jti])).outcome).toBe("taken");
    });

    test("of one handle voids that one", async () => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const [gone, open] = [handle(), handle()];
      await store.put([gone, open]);
      await store.revoke(tenant, { jti: gone.jti });
      await store.revoke(tenant, { jti: gone.jti });
      expect(await store.take(redemption(), [gone.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
      expect((await store.take(redemption(), [open.jti])).outcome).toBe("taken");
    });

    test.each<[string, (jti: string) => Revocation]>([
      ["of the handle", (jti) => ({ jti })],
      ["of its principal", () => ({ subject: "ci" })],
      ["of everything", () => ({ all: true })],
    ])("%s stops a repeat too", async (_, revocationOf) => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const open = handle({ uses: 5 });
      await store.put([open]);
      const first = redemption();
      await store.take(first, [open.jti]);
      await store.revoke(tenant, revocationOf(open.jti));
      expect(await store.take(first, [open.jti])).toMatchObject({ outcome: "refused", unknown: [0] });
    });

    test("is in force for as long as a handle could live, also after a second one", async () => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const long = handle({ expires: now() + 10_000 });
      await store.put([long, handle({ expires: now() + 100 })]);
      await store.revoke(tenant, { subject: "ci" });
      await store.revoke(tenant, { run: "1842" });
      await elapse(9_000);
      expect((await store.take(redemption(), [long.jti])).outcome).toBe("refused");
    });
  });
}
