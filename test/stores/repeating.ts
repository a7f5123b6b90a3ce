/** Redemptions that are asked for again, and those that are undone. */
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type HandleStore, type Redemption, repeatWindow } from "../../broker/store/store.ts";
import { fixtures, margin, type Subject } from "./fixtures.ts";

export function describeRepeating({ create, elapse }: Subject): void {
  describe("a redemption asked for again", () => {
    test("gets the same and takes nothing", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const twice = handle({ uses: 2 });
      await store.put([twice]);
      const first = redemption();
      await store.take(first, [twice.jti]);
      for (let again = 0; again < 3; again++) {
        expect(await store.take({ ...first }, [twice.jti])).toEqual({
          outcome: "repeat",
          handles: [twice],
        });
      }
      expect((await store.take(redemption(), [twice.jti])).outcome).toBe("taken");
    });

    test("by many at once takes one use in all", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const same = redemption();
      const taken = await Promise.all(Array.from({ length: 50 }, () => store.take(same, [single.jti])));
      expect(taken.filter(({ outcome }) => outcome === "taken")).toHaveLength(1);
      expect(taken.filter(({ outcome }) => outcome === "repeat")).toHaveLength(49);
    });

    test.each<[string, Partial<Redemption>]>([
      ["with another key", { jkt: "another" }],
      ["by another principal", { principal: "another" }],
      ["for another run", { run: "another" }],
    ])("%s is a conflict, and gets nothing", async (_, changed) => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const twice = handle({ uses: 2 });
      await store.put([twice]);
      const first = redemption();
      await store.take(first, [twice.jti]);
      expect(await store.take({ ...first, ...changed }, [twice.jti])).toEqual({ outcome: "conflict" });
      expect((await store.take(redemption(), [twice.jti])).outcome).toBe("taken");
    });

    test("for other handles, more, fewer or in another order is a conflict", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const [a, b, c] = [handle(), handle(), handle()].map((each) => ({ ...each, uses: 9 }));
      await store.put([a!, b!, c!]);
      const first = redemption();
      const order = [a!.jti, b!.jti];
      await store.take(first, order);
      for (const others of [[a!.jti], [...order, c!.jti], [a!.jti, c!.jti], order.toReversed()]) {
        expect(await store.take(first, others)).toEqual({ outcome: "conflict" });
      }
    });

    test("under the same id by another tenant is that tenant's own", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const other = `rival-${randomUUID()}`;
      const [ours, theirs] = [handle(), handle({ tenant: other })];
      await store.put([ours, theirs]);
      const first = redemption();
      expect((await store.take(first, [ours.jti])).outcome).toBe("taken");
      expect((await store.take({ ...first, tenant: other }, [theirs.jti])).outcome).toBe("taken");
    });

    test("after a refusal is asked anew", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const late = handle();
      const first = redemption();
      expect((await store.take(first, [late.jti])).outcome).toBe("refused");
      await store.put([late]);
      expect((await store.take(first, [late.jti])).outcome).toBe("taken");
    });

    test("is no repetition any more when the window is over", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const first = redemption();
      await store.take(first, [single.jti]);
      await elapse(repeatWindow - margin);
      expect((await store.take(first, [single.jti])).outcome).toBe("repeat");
      await elapse(margin);
      expect(await store.take(first, [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
    });
  });

  describe("giving back", () => {
    /** @returns the attempt's name. */
    async function taken(
      store: HandleStore,
      redemption: Redemption,
      jtis: readonly string[],
    ): Promise<string> {
      const answer = await store.take(redemption, jtis);
      if (answer.outcome !== "taken") throw new Error(answer.outcome);
      return answer.attempt;
    }

    test("undoes a take: the uses are there again, and the redemption was none", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const [a, twice] = [handle(), handle({ uses: 2 })];
      await store.put([a, twice]);
      const first = redemption();
      const batch = [twice.jti, a.jti, twice.jti];
      await store.giveBack(first, await taken(store, first, batch), batch);
      expect((await store.take(first, batch)).outcome).toBe("taken");
      expect((await store.take(redemption(), [a.jti])).outcome).toBe("refused");
    });

    test("twice gives back once", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const first = redemption();
      const attempt = await taken(store, first, [single.jti]);
      await Promise.all([1, 2].map(() => store.giveBack(first, attempt, [single.jti])));
      expect((await store.take(redemption(), [single.jti])).outcome).toBe("taken");
      expect((await store.take(redemption(), [single.jti])).outcome).toBe("refused");
    });

    test("again leaves what the same redemption took since, at whatever broker", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const first = redemption();
      const attempt = await taken(store, first, [single.jti]);
      await store.giveBack(first, attempt, [single.jti]);
      await taken(store, first, [single.jti]);
      await store.giveBack(first, attempt, [single.jti]);
      expect(await store.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
    });

    test("after a repeat gives nothing, because the values may have left with that", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const first = redemption();
      const attempt = await taken(store, first, [single.jti]);
      await store.take(first, [single.jti]);
      await store.giveBack(first, attempt, [single.jti]);
      expect(await store.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
    });

    test("forgets who had taken", async () => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const first = redemption();
      await store.giveBack(first, await taken(store, first, [single.jti]), [single.jti]);
      expect(await store.look(tenant, [single.jti], first)).toMatchObject([{ left: 1, taken: false }]);
    });

    test("what was never taken gives nothing", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      await store.giveBack(redemption(), randomUUID(), [single.jti]);
      expect((await store.take(redemption(), [single.jti, single.jti])).outcome).toBe("refused");
    });
  });
}
