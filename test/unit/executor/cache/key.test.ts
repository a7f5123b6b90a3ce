/** What a cached result stands for: everything that can change it, and nothing else. */
import { describe, expect, test } from "vitest";
import { keyOfStep, type Origin, obstacleOf } from "../../../../executor/cache/key.ts";
import { type Plan, plainStep, type SecretSource, type Step } from "../../../../executor/plan/plan.ts";
import { otherToken, otherValues, placedFile, secretFile, token } from "../../../support/step-examples.ts";

/** The broker gives these two the same cache id: their values are equal. */
const sameValue: SecretSource = { uri: "file:///run/token" };
const cacheIds = new Map<SecretSource, string>([
  [token, "one"],
  [sameValue, "one"],
  [otherToken, "two"],
]);

const origin: Origin = {
  broker: "https://broker.example",
  tenant: "acme",
  parent: "image",
  cacheIdOf: (source) => cacheIds.get(source) as string,
};

const step: Step = {
  ...plainStep,
  name: "build",
  args: ["make"],
  entrypoint: ["sh"],
  env: [["A", "1"]],
  files: [placedFile],
  secretVariables: [{ name: "TOKEN", source: token }],
  secretFiles: [secretFile],
};

const plan: Plan = { image: "alpine", registries: [], steps: [step], masked: true, shortSecrets: "refuse" };

const keyOf = (changed: Partial<Step> = {}, from: Partial<Origin> = {}) =>
  keyOfStep({ ...step, ...changed }, { ...origin, ...from });

const key = keyOf();

const withoutEffect = ["name"];
const forbidding = ["binds", "interactive", "terminal"];

const everyChange = Object.entries(otherValues).flatMap(([field, values]) =>
  values.map((value): [string, unknown] => [field, value]),
);

test.each(everyChange.filter(([field]) => ![...withoutEffect, ...forbidding].includes(field)))(
  "a step with another %s has another key: %j",
  (field, value) => {
    expect(keyOf({ [field]: value })).not.toBe(key);
    expect(obstacleOf(plan, { ...step, [field]: value })).toBeUndefined();
  },
);

test.each(everyChange.filter(([field]) => forbidding.includes(field)))(
  "a step with %s has none",
  (field, value) => {
    expect(obstacleOf(plan, { ...step, [field]: value })).toMatch(/^it /);
  },
);

test("no two of these steps have one key", () => {
  const keys = everyChange
    .filter(([field]) => ![...withoutEffect, ...forbidding].includes(field))
    .map(([field, value]) => keyOf({ [field]: value }));
  expect(new Set(keys).size).toBe(keys.length);
});

describe("the key is the same", () => {
  test("whatever people call the step", () => expect(keyOf({ name: "test" })).toBe(key));

  test("for an equal value from elsewhere", () => {
    const elsewhere = {
      secretVariables: [{ name: "TOKEN", source: sameValue }],
      secretFiles: [{ ...secretFile, source: sameValue }],
    };
    expect(keyOf(elsewhere)).toBe(key);
  });

  test("in whatever order the fields were put in", () => {
    const { path, source, mode, owner } = secretFile;
    const turned = Object.fromEntries(Object.entries({ ...step }).reverse()) as unknown as Step;
    expect(keyOf({ ...turned, secretFiles: [{ owner, mode, source, path }] })).toBe(key);
  });
});

test.each<[string, Partial<Origin>]>([
  ["broker", { broker: "https://other.example" }],
  ["tenant", { tenant: "rival" }],
  ["parent", { parent: "another image" }],
  ["storage of the plan", { storage: { size: 1 << 30 } }],
])("another %s makes another key", (_, from) => expect(keyOf({}, from)).not.toBe(key));

test("a secret as a file and the same one as a variable of that name are two things", () => {
  const asVariable = keyOf({ secretVariables: [{ name: "/t", source: token }], secretFiles: [] });
  const asFile = keyOf({ secretVariables: [], secretFiles: [{ ...secretFile, path: "/t" }] });
  const asInput = keyOf({ secretVariables: [], secretFiles: [], secretInput: token });
  expect(new Set([asVariable, asFile, asInput]).size).toBe(3);
});

test.each<[Partial<Plan>, string]>([
  [{ masked: false }, "its output is not masked"],
  [{ shortSecrets: "show" }, "it may show short secrets"],
])("nothing is cached of a plan with %j", (changed, reason) => {
  expect(obstacleOf({ ...plan, ...changed }, step)).toBe(reason);
});
