/** A policy that is long to read keeps nobody waiting. */
import { expect, test } from "vitest";
import { readPolicyApart } from "../../bin/serve-broker/policy-thread.ts";
import { openPolicy, type PolicyText } from "../../broker/policy/live.ts";
import { patterns } from "../support/policy.ts";

const policyOf = (rules: number) => `version: 1
issuers:
  ci: { issuer: https://ci.example }
tenants:
  acme:
    principals: [{ issuer: ci, claims: { owner: acme }, roles: [requester] }]
    rules:
${Array.from({ length: rules }, (_, nth) => `      - { name: r${nth}, actions: [issue], who: { repository: acme/${nth} }, secrets: ["vault://app-${nth}/**"] }\n`).join("")}...
`;

test("while ten thousand rules are read, others get their turns", async () => {
  let text: PolicyText = { text: policyOf(1), file: "1", writtenAt: 0 };
  const live = await openPolicy({
    read: async () => text,
    parse: readPolicyApart,
    patterns,
    audience: "https://broker.example",
    report: () => {},
  });
  if ("faults" in live) throw new Error(JSON.stringify(live.faults));
  const caller = {
    tenant: "acme",
    principal: "ci:x",
    accessToken: "",
    claims: { repository: "acme/9999" },
    roles: ["requester"] as const,
    proofKeys: [],
    anyProofKey: false,
  };
  const decide = () => live.policy.decide(caller, "issue", "vault://app-9999/x#y").allowed;
  expect(decide()).toBe(false);

  text = { text: policyOf(10_000), file: "2", writtenAt: 0 };
  let turns = 0;
  let over = false;
  const reloading = live.reload().then(() => {
    over = true;
  });
  while (!over) {
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
  }
  await reloading;
  expect(decide()).toBe(true);
  // In one go it would be a few turns, whatever the machine.
  expect(turns).toBeGreaterThan(20);
});

test("a file that its thread cannot read is one with a fault, and changes nothing", async () => {
  let text: PolicyText = { text: policyOf(1), file: "1", writtenAt: 0 };
  const events: object[] = [];
  const live = await openPolicy({
    read: async () => text,
    parse: readPolicyApart,
    patterns,
    audience: "https://broker.example",
    report: (event) => events.push(event),
  });
  if ("faults" in live) throw new Error(JSON.stringify(live.faults));
  text = { text: policyOf(1).replace("version: 1", "version: 2"), file: "2", writtenAt: 0 };
  await live.reload();
  expect(events).toMatchObject([{ outcome: "refused", faults: [{ line: 1 }] }]);
  expect(live.complaints()).toMatchObject([{ part: "policy", serving: true }]);
});
