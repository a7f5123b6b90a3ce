/** The memory store keeps what broker/store/store.ts promises. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { expiringMap } from "../../../../broker/store/expiring.ts";
import { memoryStore } from "../../../../broker/store/memory.ts";
import { describeEnding } from "../../../stores/ending.ts";
import type { Subject } from "../../../stores/fixtures.ts";
import { describeRepeating } from "../../../stores/repeating.ts";
import { describeTaking } from "../../../stores/taking.ts";

/** A clock that stands still: what expires is then a matter of `elapse` alone. */
const stopClock = () => vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });

async function elapse(seconds: number): Promise<void> {
  vi.setSystemTime(Date.now() + seconds * 1000);
}

const subject: Subject = {
  create: async () => {
    stopClock();
    return memoryStore();
  },
  elapse,
};

afterEach(() => {
  vi.useRealTimers();
});

describe("the memory store", () => {
  describeTaking(subject);
  describeRepeating(subject);
  describeEnding(subject);
});

describe("what expires in memory", () => {
  const now = () => Date.now() / 1000;

  test("is there until its second, and not in it", async () => {
    stopClock();
    const map = expiringMap<number>();
    map.set("a", 1, now() + 60);
    await elapse(59);
    expect(map.get("a")).toBe(1);
    await elapse(1);
    expect(map.get("a")).toBeUndefined();
  });

  test.each([61, 100_000_000])("takes up no memory after %i s", async (seconds) => {
    stopClock();
    const map = expiringMap<number>();
    for (let nth = 0; nth < 100; nth++) map.set(`${nth}`, nth, now() + 0.5 + (nth % 60));
    map.set("late", 0, now() + 200_000_000);
    await elapse(seconds);
    map.set("new", 0, now() + 60);
    expect(map.size).toBe(2);
  });

  test("that was set again lives for as long as was said last", async () => {
    stopClock();
    const map = expiringMap<number>();
    map.set("a", 1, now() + 10);
    map.set("a", 2, now() + 100);
    await elapse(50);
    map.set("b", 0, now() + 1);
    expect(map.get("a")).toBe(2);
  });

  test("that had expired when it was set is never there", async () => {
    stopClock();
    const map = expiringMap<number>();
    map.set("a", 1, now() - 5);
    expect(map.get("a")).toBeUndefined();
    await elapse(1);
    map.set("b", 1, now() + 5);
    expect(map.size).toBe(1);
  });
});
