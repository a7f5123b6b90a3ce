/** What a plan may have of everything, whoever makes it. test/e2e/executor-bounds.test.ts has the texts. */
import { expect, test } from "vitest";
import { checkPlan } from "../../../../executor/plan/check.ts";
import { checkStack } from "../../../../executor/plan/limits.ts";
import { type PlanFields, plainStep, type Step } from "../../../../executor/plan/plan.ts";

const storage = `/var/lib/containers/storage/overlay/${"0".repeat(64)}/merged`;
const refusal = expect.objectContaining({ code: "invalid_plan" });

const check = (step: Partial<Step>, plan: Partial<PlanFields> = {}) =>
  checkPlan({ image: "alpine", registries: [], steps: [{ ...plainStep, ...step }], ...plan });

test("as many steps as Linux can stack on an image are allowed, and not one more", () => {
  checkStack([storage], 400);
  for (const steps of [410, 1000]) expect(() => checkStack([storage], steps)).toThrow(refusal);
  // One step has nothing to be stacked on, whatever its image is made of.
  const many = Array.from({ length: 500 }, (_, index) => `${storage}${index}`);
  checkStack(many, 1);
  expect(() => checkStack(many, 2)).toThrow(refusal);
});

test("what a program may be started with is as long as Linux takes it, in bytes", () => {
  const limit = 128 * 1024 - 1;
  check({ args: ["x".repeat(limit)] });
  check({ args: ["é".repeat(limit / 2)] });
  for (const args of [["x".repeat(limit + 1)], ["é".repeat((limit + 1) / 2 + 1)]])
    expect(() => check({ args })).toThrow(refusal);
});

test("an error repeats nothing that may be long", () => {
  const long = "x".repeat(1_000_000);
  for (const step of [{ user: long }, { workdir: `/${long}` }, { secretFiles: [], name: long }]) {
    expect(() => check(step)).toThrow(
      expect.toSatisfy(({ detail }: { detail: string }) => detail.length < 200),
    );
  }
});

test("many paths are compared in a moment: each with those around it, and not with all", () => {
  const secretFiles = Array.from({ length: 900 }, (_, index) => ({
    path: `/a${"/b".repeat(1000)}/${index}`,
    source: { uri: "env://A" },
    mode: 0o400,
    owner: "0:0",
  }));
  const binds = [{ source: "/s", target: "/a/b", readOnly: true }];
  check({ secretFiles });
  expect(() => check({ secretFiles, binds })).toThrow(refusal);
  expect(() => check({ secretFiles: [...secretFiles, ...secretFiles.slice(0, 1)] })).toThrow(refusal);
});
