/** claimcheck whoami: what a broker with a policy file says of the token's owner, and nothing of anybody else. */
import { expect, test } from "vitest";
import { startIssuer } from "../parts/issuer.ts";
import { claimcheck } from "../support/command.ts";
import { serve } from "../support/served.ts";

const many = Array.from(
  { length: 510 },
  (_, index) =>
    `      - { name: r${index}, actions: [issue], who: { sub: many }, secrets: ["env://A${index}"] }`,
).join("\n");
const policyOf = (issuer: string) => `version: 1
issuers:
  ci: { issuer: "${issuer}", algorithms: [ES256], prefix: "ci:" }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "job-*" }, roles: [requester] }
      - { issuer: ci, claims: { sub: "boss" }, roles: [operator] }
      - { issuer: ci, claims: { sub: "many" }, roles: [requester] }
      - { issuer: ci, claims: { sub: "idle" }, roles: [requester] }
    rules:
      - { name: deploy, actions: [issue], who: { sub: "job-*" }, secrets: ["vault://secret/shop/**", "env://API_TOKEN"] }
      - { name: one command, actions: [issue], who: { sub: "job-*" }, secrets: [{ exact: "cmd://echo *" }] }
      - { name: never root, effect: deny, actions: [issue], who: { sub: "job-*" }, secrets: ["vault://secret/shop/root"] }
      - { name: look, actions: [inspect, audit.read], who: { sub: [boss, "job-*"] } }
${many}
  other:
    principals:
      - { issuer: ci, claims: { sub: "stranger" }, roles: [requester] }
    rules:
      - { name: of others, actions: [issue], secrets: ["env://**"] }
`;

async function askAs(sub: string, ...args: string[]) {
  const issuer = await startIssuer("ES256");
  const { url, keys } = await serve(issuer, "", {}, { policy: policyOf(issuer.url) });
  const token = await issuer.sign({ sub, aud: url });
  const env = { CLAIMCHECK_BROKER: url, CLAIMCHECK_BROKER_KEYS: keys, CLAIMCHECK_TOKEN: token };
  return claimcheck(["whoami", ...args], { env });
}

test("it prints the tenant, the principal, the roles and the rules about it, as far as the roles permit", async () => {
  expect(await askAs("job-1")).toEqual({
    code: 0,
    stderr: "",
    stdout: `tenant     acme
principal  ci:job-1
roles      requester
proof      none: the token alone was sent
rules      may issue vault://secret/shop/** or env://API_TOKEN (rule "deploy")
           may issue exactly cmd://echo * (rule "one command")
           may not issue vault://secret/shop/root (rule "never root")
           may inspect all secrets (rule "look")
`,
  });
});

test("as JSON it has the same, for programs", async () => {
  const { stdout } = await askAs("boss", "--format", "json");
  expect(JSON.parse(stdout)).toEqual({
    tenant: "acme",
    principal: "ci:boss",
    roles: ["operator"],
    proven: false,
    rules: [{ name: "look", effect: "allow", actions: ["inspect", "audit.read"] }],
    more: false,
  });
});

test("whom no rule is about learns that, and of too many rules the first are shown", async () => {
  expect((await askAs("idle")).stdout).toContain(
    "rules      none: the policy allows this principal nothing\n",
  );
  const { stdout } = await askAs("many");
  expect(stdout).toContain('may issue env://A499 (rule "r499")\n');
  expect(stdout).toMatch(/r499"\)\n {11}and more, which are not shown\n$/);
});

test("a token that the broker does not know gets nothing but that", async () => {
  const { code, stdout, stderr } = await askAs("nobody");
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(/\[unauthenticated\]\n$/);
});
