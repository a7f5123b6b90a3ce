/** Putting, looking and taking. */
import { describe, expect, test } from "vitest";
import type { Taker } from "../../broker/store/store.ts";
import { fixtures, type Subject } from "./fixtures.ts";

const attempt = expect.any(String);

export function describeTaking({ create }: Subject): void {
  test("gives back a handle as it was put, whoever looks or takes", async () => {
    const store = await create();
    const { tenant, handle, redemption } = fixtures();
    const put = handle({ run: "1842", uses: 2 });
    await store.put([put]);
    const { sealed, ...known } = put;
    expect(await store.look(tenant, [put.jti])).toEqual([{ ...known, left: 2, taken: false }]);
    expect(await store.take(redemption(), [put.jti])).toEqual({ outcome: "taken", attempt, handles: [put] });
  });

  test("keeps the order that was asked for, and leaves a gap for what is not there", async () => {
    const store = await create();
    const { tenant, handle, redemption } = fixtures();
    const [a, b] = [handle(), handle()];
    await store.put([a, b]);
    expect((await store.look(tenant, [b.jti, "none", a.jti])).map((each) => each?.jti)).toEqual([
      b.jti,
      undefined,
      a.jti,
    ]);
    expect(await store.take(redemption(), [b.jti, a.jti])).toEqual({
      outcome: "taken",
      attempt,
      handles: [b, a],
    });
  });

  describe("taking", () => {
    test("works as often as the handle allows, then says which one is spent", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const thrice = handle({ uses: 3 });
      await store.put([thrice]);
      for (let use = 0; use < 3; use++) {
        expect((await store.take(redemption(), [thrice.jti])).outcome).toBe("taken");
      }
      expect(await store.take(redemption(), [thrice.jti])).toEqual({
        outcome: "refused",
        unknown: [],
        spent: [0],
      });
    });

    test("is all or none: a batch that is refused costs nothing", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const [good, spent] = [handle(), handle()];
      await store.put([good, spent]);
      await store.take(redemption(), [spent.jti]);
      const batch = [good.jti, "none", spent.jti];
      expect(await store.take(redemption(), batch)).toEqual({
        outcome: "refused",
        unknown: [1],
        spent: [2],
      });
      expect((await store.take(redemption(), [good.jti])).outcome).toBe("taken");
    });

    test("counts a handle that is listed twice twice", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const [once, twice] = [handle({ uses: 1 }), handle({ uses: 2 })];
      await store.put([once, twice]);
      expect(await store.take(redemption(), [once.jti, once.jti])).toEqual({
        outcome: "refused",
        unknown: [],
        spent: [1],
      });
      expect(await store.take(redemption(), [twice.jti, twice.jti])).toEqual({
        outcome: "taken",
        attempt,
        handles: [twice, twice],
      });
      expect((await store.take(redemption(), [twice.jti])).outcome).toBe("refused");
      expect((await store.take(redemption(), [once.jti])).outcome).toBe("taken");
    });

    test("by a thousand at once gives a single-use handle to one", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const taken = await Promise.all(
        Array.from({ length: 1000 }, () => store.take(redemption(), [single.jti])),
      );
      expect(taken.filter(({ outcome }) => outcome === "taken")).toHaveLength(1);
      expect(taken.filter(({ outcome }) => outcome === "refused")).toHaveLength(999);
    });

    test("of crossing batches at once never takes more than there is, and never half a batch", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const [a, b] = [handle({ uses: 5 }), handle({ uses: 5 })];
      await store.put([a, b]);
      const batches = Array.from({ length: 100 }, (_, nth) => (nth % 2 ? [a.jti, b.jti] : [b.jti, a.jti]));
      const taken = await Promise.all(batches.map((batch) => store.take(redemption(), batch)));
      expect(taken.filter(({ outcome }) => outcome === "taken")).toHaveLength(5);
      for (const { jti } of [a, b]) expect((await store.take(redemption(), [jti])).outcome).toBe("refused");
    });

    test("finds nothing of another tenant", async () => {
      const store = await create();
      const { handle, redemption } = fixtures();
      const single = handle();
      await store.put([single]);
      const other = redemption({ tenant: "rival" });
      expect(await store.take(other, [single.jti])).toEqual({
        outcome: "refused",
        unknown: [0],
        spent: [],
      });
      expect(await store.look("rival", [single.jti])).toEqual([undefined]);
      expect((await store.take(redemption(), [single.jti])).outcome).toBe("taken");
    });
  });

  test("looking takes nothing, however often", async () => {
    const store = await create();
    const { tenant, handle, redemption } = fixtures();
    const single = handle();
    await store.put([single]);
    await Promise.all(Array.from({ length: 100 }, () => store.look(tenant, [single.jti])));
    expect((await store.take(redemption(), [single.jti])).outcome).toBe("taken");
  });

  test("looking tells how many uses are left, and whether the one who looks took any", async () => {
    const store = await create();
    const { tenant, handle, redemption } = fixtures();
    const thrice = handle({ uses: 3 });
    await store.put([thrice]);
    const first = redemption({ run: "one" });
    await store.take(first, [thrice.jti, thrice.jti]);
    const seen = async (taker?: Taker) => (await store.look(tenant, [thrice.jti], taker))[0];
    expect(await seen(first)).toMatchObject({ left: 1, taken: true });
    for (const changed of [{ run: "two" }, { jkt: "another" }, { principal: "another" }]) {
      expect(await seen({ ...first, ...changed })).toMatchObject({ left: 1, taken: false });
    }
    expect(await seen()).toMatchObject({ left: 1, taken: false });
  });

  test("putting a handle that is there already does not bring its uses back", async () => {
    const store = await create();
    const { handle, redemption } = fixtures();
    const single = handle();
    await store.put([single]);
    await store.take(redemption(), [single.jti]);
    await store.put([single]);
    expect(await store.take(redemption(), [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
  });
}
