/** Commands that ask a broker, or a proxy in front of it, that answers without end. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { claimcheck } from "../support/command.ts";

/** Its health is good; every other answer goes on for as long as the client reads. */
async function endlessBroker(): Promise<string> {
  const server = createServer(({ url }, response) => {
    if (url === "/healthz") return void response.end('{"status":"ok"}');
    response.setHeader("content-type", "application/json");
    const chunk = Buffer.alloc(1024 * 1024, " ");
    const write = () => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on("drain", write);
    write();
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const env = async () => ({
  CLAIMCHECK_BROKER: await endlessBroker(),
  CLAIMCHECK_BROKER_KEYS: "A".repeat(43),
  CLAIMCHECK_TOKEN: "e30.e30.x",
});

test.each([["whoami"], ["issue", "env://A"], ["inspect", "00000000-0000-4000-8000-000000000000"]])(
  "%s reads only so much of the answer, and says so",
  async (...args) => {
    const { code, stdout, stderr } = await claimcheck(args, { env: await env() });
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(/its answer is longer than 67108864 bytes \[broker_untrusted\]\n$/);
  },
);

test("doctor says it too, and goes on with the next check", async () => {
  const { code, stdout } = await claimcheck(["doctor"], { env: await env() });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^FAIL {2}readiness +.*longer than 67108864 bytes/m);
  expect(stdout).toMatch(/^ok {4}clock /m);
  expect(stdout).toMatch(/^FAIL {2}pins +.*longer than/m);
});
