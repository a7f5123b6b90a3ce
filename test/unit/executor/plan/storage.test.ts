import { expect, test } from "vitest";
import { parseStorageOptions, toStorage } from "../../../../executor/plan/storage.ts";

const mib = 1024 ** 2;
const usage = (detail: RegExp) =>
  expect.objectContaining({ code: "usage", detail: expect.stringMatching(detail) });

test("docker's and podman's options", () => {
  expect(parseStorageOptions(["size=16m"])).toEqual({ size: 16 * mib });
  expect(parseStorageOptions(["inodes=100", "size=1G"])).toEqual({ size: 1024 * mib, inodes: 100 });
  // The last one counts, as for other flags.
  expect(parseStorageOptions(["size=16m", "size=32m"])).toEqual({ size: 32 * mib });
});

test.each<[options: string[], detail: RegExp]>([
  [["inodes=100"], /needs size=SIZE too/],
  [["dm.basesize=10G"], /^there is no dm\.basesize; write size=SIZE or inodes=NUMBER$/],
  [["size"], /is not a size/],
  [["size=0"], /at least 16m and at most 8t/],
  [["size=15m"], /at least 16m/],
  [["size=9t"], /at most 8t/],
  [["size=-1"], /is not a size/],
  [["size=16m", "inodes=4097"], /from 1 to 4096/],
  [["size=16m", "inodes=0"], /from 1/],
  [["size=16m", "inodes=1e3"], /from 1/],
  [["size=16m", "inodes="], /from 1/],
])("%j is refused", (options, detail) => {
  expect(() => parseStorageOptions(options)).toThrow(usage(detail));
});

test.each([Number.NaN, 1.5, -1, 1e300])("%d inodes of a plan are refused", (inodes) => {
  expect(() => toStorage({ size: "16m", inodes })).toThrow(usage(/whole number/));
});
