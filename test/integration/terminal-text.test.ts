/** What others wrote, in what commands print: a terminal gets text, and nothing that it would obey. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";

/** An escape sequence, C1's form of one, a carriage return, and text that runs the other way. */
const evil = "a\u001b[2J\u009b2J\rb\u202egnp.exe\u2066";
const obeyed = /[^\P{Cc}\n]|\p{Cf}/u;

async function brokerThatSays(body: object, status = 200): Promise<string> {
  const server = createServer((_, response) => {
    response.statusCode = status;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(body));
  });
  onTestFinished(() => void server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A token that names the key which proves its requests, so that nothing is needed to seal it to. */
async function keyedToken(): Promise<string> {
  const { stdout } = await claimcheck(["executor", "key"]);
  const claims = Buffer.from(JSON.stringify({ cnf: { jkt: stdout.trim() } })).toString("base64url");
  return `e30.${claims}.x`;
}

test.each(["text", "json"])("inspect, as %s", async (format) => {
  const id = "00000000-0000-4000-8000-000000000000";
  const url = await brokerThatSays({ jti: id, subject: evil, run: evil, uses: 1, left: 1, expires: 1 });
  const env = { CLAIMCHECK_BROKER: url, CLAIMCHECK_TOKEN: await keyedToken() };
  const { code, stdout } = await claimcheck(["inspect", "--format", format, id], { env });
  expect(code).toBe(0);
  expect(stdout).toContain("gnp.exe");
  expect(stdout).not.toMatch(obeyed);
  if (format === "json") expect(JSON.parse(stdout)).toMatchObject([{ subject: evil, run: evil }]);
});

test("a refusal in a broker's words", async () => {
  const problem = { type: "x", title: evil, status: 403, code: "forbidden", detail: evil };
  const env = {
    CLAIMCHECK_BROKER: await brokerThatSays(problem, 403),
    CLAIMCHECK_TOKEN: await keyedToken(),
  };
  const { code, stderr } = await claimcheck(["issue", "env://A"], { env });
  expect(code).toBe(125);
  expect(stderr).toContain("gnp.exe");
  expect(stderr).not.toMatch(obeyed);
});

const policy = (rule: object, owner = "acme") =>
  JSON.stringify({
    version: 1,
    issuers: { ci: { issuer: "https://ci.example" } },
    tenants: {
      acme: { principals: [{ issuer: "ci", claims: { owner }, roles: ["requester"] }], rules: [rule] },
    },
  });

test.each<[string, object, object, string]>([
  ["a name and a pattern", { name: evil, secrets: [`env://${evil}`] }, {}, "allowed"],
  ["a pattern that fits", { name: "r", secrets: ["env://**"], who: { ref: "**" } }, { ref: evil }, "allowed"],
  [
    "a claim that does not fit",
    { name: "r", secrets: ["env://**"], who: { ref: "x" } },
    { ref: evil },
    "close",
  ],
  ["a principal", { name: "r", secrets: ["env://**"] }, { sub: "a\u202eb" }, "allowed"],
  ["the name of a claim", { name: "r", secrets: ["env://**"], who: { [evil]: "x" } }, {}, "close"],
  ["an issuer", { name: "r", secrets: ["env://**"] }, { iss: evil }, "the policy has no issuer"],
  ["a tenant's claim", { name: "r", secrets: ["env://**"] }, { owner: evil }, "acme wants owner"],
])("policy explain of %s", async (_, rule, claims, says) => {
  const token = { iss: "https://ci.example", sub: "job", owner: "acme", ...claims };
  const folder = makeFolder({
    "p.yaml": policy({ actions: ["issue"], ...rule }),
    "c.json": JSON.stringify(token),
  });
  const [file, as] = [join(folder, "p.yaml"), join(folder, "c.json")];
  const { stdout, stderr } = await claimcheck([
    "policy",
    "explain",
    file,
    "--as",
    as,
    "--uri",
    `env://${evil}`,
  ]);
  expect({ stderr, stdout }).toMatchObject({ stderr: "", stdout: expect.stringContaining(says) });
  expect(stdout).not.toMatch(obeyed);
});

test("policy check of faults that quote the file", async () => {
  const file = join(
    makeFolder({ "p.yaml": policy({ name: evil, actions: ["issue"], [evil]: 1 }) }),
    "p.yaml",
  );
  const { code, stderr } = await claimcheck(["policy", "check", file]);
  expect(code).toBe(1);
  expect(stderr).toContain("gnp.exe");
  expect(stderr).not.toMatch(obeyed);
});
