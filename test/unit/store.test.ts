/** One suite for every handle store: what it asks is the contract in broker/store/store.ts, and nothing else. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore } from "../../broker/store/memory.ts";
import {
  type HandleStore,
  type OpenHandle,
  type Redemption,
  repeatWindow,
} from "../../broker/store/store.ts";

const now = () => Math.floor(Date.now() / 1000);

/** Ids of its own for each test, so that a suite can run over a store that others use too. */
function fixtures() {
  const tenant = `acme-${randomUUID()}`;
  const handle = (given: Partial<OpenHandle> = {}): OpenHandle => ({
    tenant,
    jti: randomUUID(),
    subject: "ci",
    uri: "env://API_TOKEN",
    digest: "hmac-sha256:x",
    sealed: Uint8Array.of(0, 1, 0xff),
    uses: 1,
    expires: now() + 900,
    ...given,
  });
  const redemption = (given: Partial<Redemption> = {}): Redemption => ({
    tenant,
    id: randomUUID(),
    principal: "ci",
    jkt: "key",
    ...given,
  });
  return { tenant, handle, redemption };
}

/** @param elapse lets so many seconds pass, as the store sees time. */
function describeStore(
  name: string,
  create: () => Promise<HandleStore>,
  elapse: (seconds: number) => Promise<void>,
): void {
  describe(name, () => {
    test("gives back a handle as it was put, whoever looks or takes", async () => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const put = handle({ run: "1842", uses: 2 });
      await store.put([put]);
      expect(await store.look(tenant, [put.jti])).toEqual([put]);
      expect(await store.take(redemption(), [put.jti])).toEqual({ outcome: "taken", handles: [put] });
    });

    test("keeps the order that was asked for, and leaves a gap for what is not there", async () => {
      const store = await create();
      const { tenant, handle, redemption } = fixtures();
      const [a, b] = [handle(), handle()];
      await store.put([a, b]);
      expect(await store.look(tenant, [b.jti, "none", a.jti])).toEqual([b, undefined, a]);
      expect(await store.take(redemption(), [b.jti, a.jti])).toEqual({ outcome: "taken", handles: [b, a] });
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
        await elapse(repeatWindow - 0.5);
        expect((await store.take(first, [single.jti])).outcome).toBe("repeat");
        await elapse(0.5);
        expect(await store.take(first, [single.jti])).toMatchObject({ outcome: "refused", spent: [0] });
      });
    });

    describe("giving back", () => {
      test("undoes a take: the uses are there again, and the redemption was none", async () => {
        const store = await create();
        const { handle, redemption } = fixtures();
        const [a, twice] = [handle(), handle({ uses: 2 })];
        await store.put([a, twice]);
        const first = redemption();
        const batch = [twice.jti, a.jti, twice.jti];
        await store.take(first, batch);
        await store.giveBack(first);
        expect((await store.take(first, batch)).outcome).toBe("taken");
        expect((await store.take(redemption(), [a.jti])).outcome).toBe("refused");
      });

      test("twice gives back once", async () => {
        const store = await create();
        const { handle, redemption } = fixtures();
        const single = handle();
        await store.put([single]);
        const first = redemption();
        await store.take(first, [single.jti]);
        await Promise.all([store.giveBack(first), store.giveBack(first)]);
        expect((await store.take(redemption(), [single.jti])).outcome).toBe("taken");
        expect((await store.take(redemption(), [single.jti])).outcome).toBe("refused");
      });

      test("what was never taken gives nothing", async () => {
        const store = await create();
        const { handle, redemption } = fixtures();
        const single = handle();
        await store.put([single]);
        await store.giveBack(redemption());
        expect((await store.take(redemption(), [single.jti, single.jti])).outcome).toBe("refused");
      });
    });

    describe("a handle that expires", () => {
      test("is gone in that second, for looking and for taking", async () => {
        const store = await create();
        const { tenant, handle, redemption } = fixtures();
        const brief = handle({ uses: 2, expires: now() + 10 });
        await store.put([brief]);
        await elapse(9);
        expect((await store.take(redemption(), [brief.jti])).outcome).toBe("taken");
        await elapse(1);
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
        await elapse(119);
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
  });
}

afterEach(() => {
  vi.useRealTimers();
});

describeStore(
  "the memory store",
  async () => {
    // A clock that stands still: what expires is then a matter of `elapse` alone.
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    return memoryStore();
  },
  async (seconds) => {
    vi.setSystemTime(Date.now() + seconds * 1000);
  },
);
