import { expect, test } from "vitest";
import { PlanDocument, planSchema, toStep } from "../../../../executor/plan/document.ts";
import { undescribed } from "../../../support/undescribed.ts";

const read = (step: unknown) => PlanDocument.parse({ version: 1, image: "alpine", steps: [step] });
const stepOf = (step: unknown) => toStep(read(step).steps[0] as PlanDocument["steps"][number]);

test("every field says what it is", () => {
  expect(undescribed(planSchema())).toEqual([]);
});

test("a secret is a URI, with its cache key, or a handle", () => {
  const step = stepOf({
    secretEnv: { A: "env://A?cacheKey=k", B: { handle: "jws" } },
    secretFiles: [{ path: "/b", handle: "jws" }],
    secretStdin: { handle: "other" },
  });
  expect(step.secretVariables.map(({ source }) => source)).toEqual([
    { uri: "env://A", cacheKey: "k" },
    { handle: "jws" },
  ]);
  expect(step.secretFiles.map(({ source }) => source)).toEqual([{ handle: "jws" }]);
  expect(step.secretInput).toEqual({ handle: "other" });
});

test.each([
  ["neither", { path: "/b" }],
  ["both", { path: "/b", uri: "env://A", handle: "jws" }],
])("a secret file with %s of URI and handle is refused", (_, file) => {
  expect(() => stepOf({ secretFiles: [file] })).toThrow(
    expect.objectContaining({ detail: "the secret file /b needs one of uri, handle and value" }),
  );
});

test("what nobody knows is refused", () => {
  expect(() => read({ privileged: true })).toThrow();
  expect(() => read({ secretEnv: { A: { uri: "env://A" } } })).toThrow();
});
