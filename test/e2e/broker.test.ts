/** `claimcheck broker`, and `claimcheck run` against it: the same way as embedded, over a socket. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { boundAudience } from "../../shared/bound-token.ts";
import { startIssuer } from "../parts/issuer.ts";
import { claimcheck, image } from "../support/command.ts";
import { startDevBroker } from "../support/dev-broker.ts";
import { serve } from "../support/served.ts";

const args = ["run", "--secret-env", "MY_SECRET=env://API_TOKEN", image, "--", "sh", "-c", "echo $MY_SECRET"];

test("a run at a remote broker prints the same, and neither side logs the value", async () => {
  const value = randomBytes(12).toString("hex");
  const { broker, env } = await startDevBroker({ API_TOKEN: value });
  expect(await claimcheck(args, { env })).toEqual({ code: 0, stdout: "***\n", stderr: "" });

  broker.child.kill("SIGTERM");
  const { code, stdout, stderr } = await broker.finished;
  expect(code).toBe(0);
  expect(stdout + stderr).not.toContain(value);
  expect(stderr.match(/"route":"\/v1\/(handles|redemptions)","status":200/g)).toHaveLength(2);
});

test("only the variables named by --env exist there", async () => {
  const { env } = await startDevBroker({ OTHER: "of-no-interest" });
  const finished = await claimcheck(args, { env: { ...env, API_TOKEN: "of-the-client" } });
  expect(finished.stderr).toMatch(/\[secret_not_found\]\n$/);
});

test("a broker whose key is not pinned, or that does not know the token, is not used", async () => {
  const { env } = await startDevBroker({ API_TOKEN: "of-no-interest" });
  const unpinned = await claimcheck(args, { env: { ...env, CLAIMCHECK_BROKER_KEYS: "A".repeat(43) } });
  expect(unpinned.stderr).toMatch(/\[broker_untrusted\]\n$/);
  const unknown = await claimcheck(args, { env: { ...env, CLAIMCHECK_TOKEN: "eyJhbGciOiJub25lIn0.e30." } });
  expect(unknown.stderr).toMatch(/\[unauthenticated\]\n$/);
});

test("an address that is taken is one line", async () => {
  const { env } = await startDevBroker({});
  const listen = new URL(env.CLAIMCHECK_BROKER as string).host;
  const second = await claimcheck(["broker", "--dev", "--listen", listen]);
  expect(second).toMatchObject({ code: 125, stdout: "" });
  expect(second.stderr).toMatch(/^claimcheck: .*EADDRINUSE.*\n$/);
});

test("a job's own token that names the key in its state folder is proven with that key", async () => {
  const issuer = await startIssuer("ES256");
  const policy = `version: 1
issuers:
  ci: { issuer: "${issuer.url}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "**" }, roles: [requester, executor], confined: issuer }
    rules:
      - { name: variables, actions: [issue, redeem], secrets: ["env://**"] }
`;
  const { url, keys } = await serve(issuer, "", {}, { policy });
  const jkt = (await claimcheck(["executor", "key"])).stdout.trim();
  const token = await issuer.sign({ sub: "job", aud: boundAudience(url, jkt) });
  const env = { CLAIMCHECK_BROKER: url, CLAIMCHECK_BROKER_KEYS: keys, CLAIMCHECK_TOKEN: token };
  const args = ["run", "--secret-env", "A=env://API_TOKEN", image, "--", "sh", "-c", "echo $A ${#A}"];
  expect(await claimcheck(args, { env })).toMatchObject({ code: 0, stdout: "*** 7\n" });
});
