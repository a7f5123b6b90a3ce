import { expect, test, vi } from "vitest";
import { createValueCache } from "../../../../broker/resolve/value-cache.ts";
import { Secret } from "../../../../shared/secret.ts";
import { until } from "../../../parts/host.ts";

const { sealed, made } = vi.hoisted(() => ({ sealed: [] as unknown[], made: [] as { size: number }[] }));

// Looks at what the library is given to keep, and changes nothing.
vi.mock("lru-cache", async (original) => {
  const { LRUCache } = await original<typeof import("lru-cache")>();
  return {
    LRUCache: class extends LRUCache<string, object> {
      override set(key: string, entry: object, options?: object) {
        sealed.push(entry);
        made.push(this);
        return super.set(key, entry, options);
      }
    },
  };
});

const value = () => new Secret(Buffer.from("correct-horse-battery-staple"));

test("a kept value is sealed: what lies in memory is not the value, nor twice the same", () => {
  const cache = createValueCache(60_000);
  cache.put("a", value(), performance.now());
  cache.put("b", value(), performance.now());
  const kept = (sealed as { known: Uint8Array }[]).map(({ known }) => Buffer.from(known));
  expect(kept).toHaveLength(2);
  for (const bytes of kept) expect(bytes.toString("latin1")).not.toMatch(/correct|horse|staple/);
  expect(kept[0]?.equals(kept[1] as Buffer)).toBe(false);
});

test("a kept value comes back byte for byte, each time with bytes of its own", () => {
  const cache = createValueCache(60_000);
  cache.put("a", value(), performance.now());
  const first = cache.get("a") as Secret;
  first.wipe();
  expect(Buffer.from((cache.get("a") as Secret).expose()).toString()).toBe("correct-horse-battery-staple");
});

test("what was kept of one secret does not open as another", () => {
  const cache = createValueCache(60_000);
  cache.put("a", value(), performance.now());
  const { known } = sealed.at(-1) as { known: Uint8Array };
  cache.put("b", value(), performance.now());
  (sealed.at(-1) as { known: Uint8Array }).known.set(known);
  expect(() => cache.get("b")).toThrow();
});

test("nothing is kept beyond its time, asked for or not", async () => {
  const cache = createValueCache(20);
  cache.put("a", value(), performance.now());
  expect(made.at(-1)?.size).toBe(1);
  await until(() => made.at(-1)?.size === 0);
});
