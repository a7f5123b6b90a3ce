/** The line in front of an executor's places. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createRunQueue } from "../../../../executor/server/run-queue.ts";

test("there are never more at once than may be, and who came first is first", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.array(fc.oneof(fc.constant("ask"), fc.nat({ max: 9 })), { maxLength: 60 }),
      async (limit, waitingLimit, acts) => {
        const places = createRunQueue(limit, waitingLimit);
        const inside: number[] = [];
        const there: { readonly id: number; readonly leave: () => void }[] = [];
        // What must be: those inside, and the line behind them.
        let expected: number[] = [];
        for (const [id, act] of acts.entries()) {
          if (act === "ask") {
            const isFull = expected.length >= limit + waitingLimit;
            if (isFull) {
              expect(() => places.ask()).toThrow(expect.objectContaining({ code: "executor_busy" }));
              continue;
            }
            const { isFree, free, leave } = places.ask();
            expect(isFree).toBe(expected.length < limit);
            void free.then(() => inside.push(id));
            there.push({ id, leave });
            expected.push(id);
          } else if (there.length > 0) {
            const [gone] = there.splice((act as number) % there.length, 1);
            gone?.leave();
            gone?.leave();
            expected = expected.filter((each) => each !== gone?.id);
            if (inside.includes(gone?.id as number)) inside.splice(inside.indexOf(gone?.id as number), 1);
          }
          await Promise.resolve();
          expect([...inside].sort((a, b) => a - b)).toEqual(expected.slice(0, limit));
        }
      },
    ),
  );
});
