/** The hash of a plan: the same for everybody who has the plan, and another for every other plan. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PlanDocument } from "../../../../executor/plan/document.ts";
import { hashPlan } from "../../../../executor/plan/hash.ts";

const plan: PlanDocument = {
  version: 1,
  image: "alpine:latest",
  steps: [
    {
      name: "bücher",
      args: ["sh", "-c", "echo $TOKEN"],
      cpus: 1.5,
      secretEnv: { TOKEN: { handle: "DEPLOY_TOKEN" }, A: "env://A" },
    },
  ],
};

/** What looks like a handle: only its claims are of interest here. */
const handleNamed = (name: string, more: object = {}) =>
  `e30.${Buffer.from(JSON.stringify({ name, ...more })).toString("base64url")}.c2ln`;

const withToken = (token: string) =>
  hashPlan({
    ...plan,
    steps: [{ ...plan.steps[0], secretEnv: { TOKEN: { handle: token }, A: "env://A" } }],
  });

test("is what another program makes of the same document", () => {
  // Python: json.dumps(sort_keys=True, separators=(",", ":"), ensure_ascii=False), hashlib.sha256.
  expect(hashPlan(plan)).toBe("sha256:BmOcTVzPyJHg1_JZPeFqwG6jdqQnNMRdQh3SaWgGbzI");
});

test("does not depend on the order in which members are written", () => {
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([name, each]) => [name, reversed(each)]),
    );
  };
  expect(hashPlan(reversed(plan) as PlanDocument)).toBe(hashPlan(plan));
});

test("changes with every change, and reading a document changes none", () => {
  const step = fc.record(
    { args: fc.array(fc.string()), env: fc.dictionary(fc.stringMatching(/^[A-Z]+$/), fc.string()) },
    { requiredKeys: [] },
  );
  const plans = fc.record({
    version: fc.constant(1 as const),
    image: fc.string({ minLength: 1 }),
    steps: fc.array(step, { minLength: 1 }),
  });
  fc.assert(
    fc.property(plans, plans, (one, other) => {
      const same = JSON.stringify(PlanDocument.parse(one)) === JSON.stringify(PlanDocument.parse(other));
      if (!same) expect(hashPlan(one)).not.toBe(hashPlan(other));
      expect(hashPlan(PlanDocument.parse(JSON.parse(JSON.stringify(one))))).toBe(hashPlan(one));
    }),
  );
});

describe("a handle in the plan", () => {
  test("counts as its name: it carries the hash, and could not be in it", () => {
    expect(withToken(handleNamed("DEPLOY_TOKEN", { jti: "1" }))).toBe(hashPlan(plan));
    expect(withToken(handleNamed("OTHER"))).not.toBe(hashPlan(plan));
  });

  test("counts so only in the places of handles", () => {
    const env = (handle: string) => hashPlan({ ...plan, steps: [{ env: { handle } }] });
    expect(env(handleNamed("DEPLOY_TOKEN"))).not.toBe(env("DEPLOY_TOKEN"));
  });
});

test("text that is no Unicode has none", () => {
  expect(() => hashPlan({ ...plan, image: "\ud800" })).toThrow(
    expect.objectContaining({ code: "invalid_plan" }),
  );
});
