/** zod drops a member called "__proto__", without a word: every schema of names that others choose refuses it. */
import { expect, test } from "vitest";
import { toRunRequest } from "../../../bin/run/request.ts";
import { remoteKeys } from "../../../broker/authn/issuer-keys.ts";
import { PlanDocument } from "../../../executor/plan/document.ts";
import { RunRequest } from "../../../executor/server/wire.ts";
import { loadPolicy } from "../../support/policy.ts";

const hidden = JSON.parse('{"A":"YQ==","__proto__":"YQ=="}');
const plan = (step: object) => ({ version: 1, image: "a", steps: [step] });

const policy = (claims: string) => `version: 1
issuers: { github: { issuer: https://token.example } }
tenants:
  acme:
    principals: [{ issuer: github, claims: ${claims}, roles: [requester] }]
    rules: []
`;

test.each([
  ["a variable of a plan", () => PlanDocument.parse(plan({ env: hidden }))],
  ["a secret variable of a plan", () => PlanDocument.parse(plan({ secretEnv: hidden }))],
  ["a value beside a plan", () => toRunRequest({ plan: plan({}), values: hidden })],
  ["a value for an executor", () => RunRequest.parse({ plan: {}, values: hidden })],
])("%s is not called __proto__", (_, read) => {
  expect(read).toThrow(expect.toSatisfy((thrown) => /__proto__/.test(thrown.detail ?? thrown.message)));
});

test.each(["{ sub: a, __proto__: b }", "{ sub: { a: b, __proto__: c } }"])(
  "a principal of a policy does not lose a condition: %s",
  (claims) => {
    expect(loadPolicy(policy("{ sub: a }"), remoteKeys)).not.toHaveProperty("faults");
    expect(loadPolicy(policy(claims), remoteKeys)).toMatchObject({ faults: [{ line: 5 }] });
  },
);
