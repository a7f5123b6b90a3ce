import { afterAll, expect, test, vi } from "vitest";

// lru-cache keeps the clock that is there when it is loaded, and takes the time 0 for none.
vi.useFakeTimers();
await vi.advanceTimersByTimeAsync(1);
const { createRequesterLanes } = await import("../../../../broker/resolve/requester-lanes.ts");
afterAll(() => {
  vi.useRealTimers();
});

const minute = 60_000;

function setUp() {
  const made: string[] = [];
  const closed: string[] = [];
  const lanes = createRequesterLanes((token: string) => {
    made.push(token);
    return { token, close: async () => void closed.push(token) };
  });
  const use = (principal: string, token: string) => lanes.use(principal, token, async (lane) => lane.token);
  return { lanes, use, made, closed };
}

test("one token of one principal has one, and nobody else has it", async () => {
  const { use, made } = setUp();
  for (const [principal, token] of [
    ["a", "1"],
    ["a", "1"],
    ["a", "2"],
    ["b", "1"],
  ] as const) {
    expect(await use(principal, token)).toBe(token);
  }
  expect(made).toEqual(["1", "2", "1"]);
});

test("one is closed when nobody used it for five minutes, counted from the last use", async () => {
  const { use, closed } = setUp();
  await use("a", "1");
  await vi.advanceTimersByTimeAsync(4 * minute);
  await use("a", "1");
  await vi.advanceTimersByTimeAsync(4 * minute);
  expect(closed).toEqual([]);
  await vi.advanceTimersByTimeAsync(2 * minute);
  expect(closed).toEqual(["1"]);
});

test("the oldest is closed when there are too many, and not before what it reads is there", async () => {
  const { lanes, use, closed } = setUp();
  const { promise, resolve } = Promise.withResolvers<string>();
  const reading = lanes.use("a", "first", () => promise);
  for (let nth = 0; nth < 257; nth++) await use("a", `${nth}`);
  expect(closed).toEqual(["0"]);
  resolve("value");
  expect(await reading).toBe("value");
  expect(closed).toEqual(["0", "first"]);
});

test("all are closed in the end, also those that were in use", async () => {
  const { lanes, use, closed } = setUp();
  await use("a", "1");
  const { promise, resolve } = Promise.withResolvers<void>();
  const reading = lanes.use("a", "2", () => promise);
  lanes.close();
  expect(closed).toEqual(["1"]);
  resolve();
  await reading;
  expect(closed).toEqual(["1", "2"]);
});
