import { expect, test } from "vitest";
import { readDuration } from "../../../shared/duration.ts";

test.each([
  ["90", 90],
  ["90s", 90],
  ["15m", 900],
  ["1.5m", 90],
  ["2h", 7200],
  ["1d", 86_400],
  ["0", 0],
  ["0.001s", 0.001],
])("%s is %d seconds", (text, seconds) => {
  expect(readDuration(text)).toBe(seconds);
});

test.each([
  "",
  "s",
  "-1s",
  "+1",
  "1 s",
  "1S",
  "1ms",
  "1m30s",
  ".5s",
  "1.s",
  "1.0000s",
  "1e3",
  "1234567890",
  "٣s",
])("%j is no time", (text) => {
  expect(readDuration(text)).toBeUndefined();
});
