/** A process that holds secrets cannot be debugged by a signal, and writes no core. */

import { once } from "node:events";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../parts/free-port.ts";
import { startIssuer } from "../parts/issuer.ts";
import { printed, start } from "../support/command.ts";
import { makeFolder, serve } from "../support/served.ts";

/** The addresses on which a process listens, as the kernel has them. */
function listening(pid: number): string[] {
  return readFileSync(`/proc/${pid}/net/tcp`, "utf8")
    .split("\n")
    .filter((line) => / 0A /.test(line))
    .map((line) => line.trim().split(/\s+/)[1]!);
}

/** 127.0.0.1:9229, where the inspector would be. */
const inspector = "0100007F:240D";

/** Sends the signal, and a later one whose effect tells that the first was handled. */
async function expectClosed({ child, output }: ReturnType<typeof start>): Promise<void> {
  child.kill("SIGUSR1");
  child.kill("SIGUSR1");
  child.kill("SIGTERM");
  await once(child, "exit");
  expect(output.stderr).not.toContain("Debugger listening");
}

const coreLimit = (pid: number) =>
  /^Max core file size +(\S+) +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.slice(1);

test("a broker answers SIGUSR1 with nothing, and its limit of core files leaves no handler awake", async () => {
  const broker = await serve(await startIssuer("ES256"), "shutdown: { delay: 0, limit: 5 }\n");
  expect(coreLimit(broker.child.pid!)).toEqual(["1", "1"]);
  expect(listening(broker.child.pid!)).not.toContain(inspector);
  await expectClosed(broker);
});

test("so do an embedded broker's run and any other command", async () => {
  const port = await freePort();
  const dev = start(["broker", "--dev", "--listen", `127.0.0.1:${port}`]);
  await printed(dev, "CLAIMCHECK_TOKEN");
  expect(coreLimit(dev.child.pid!)).toEqual(["1", "1"]);
  await expectClosed(dev);
  // Waits for its standard input, which never ends.
  const waiting = start(["scrub", "--env", "API_TOKEN"], { env: { API_TOKEN: "guessme" }, input: true });
  waiting.child.stdin!.write("guessme\nnothing else\n");
  await printed(waiting, "***");
  await expectClosed(waiting);
});

test("a broker that was started with the inspector open closes it", async () => {
  const debugging = await freePort();
  const broker = await serve(await startIssuer("ES256"), "", {
    NODE_OPTIONS: `--inspect=127.0.0.1:${debugging}`,
  });
  // The address is free again.
  const server = createServer();
  server.listen(debugging, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  expect(broker.output.stderr).not.toContain("inspector is open");
});

test("a broker that cannot forbid core files says so, and on /readyz too", async () => {
  // A PATH with all that it needs but the one program.
  const folder = makeFolder({});
  const programs = join(folder, "bin");
  mkdirSync(programs);
  symlinkSync("/usr/bin/flock", join(programs, "flock"));
  const broker = await serve(await startIssuer("ES256"), "", { PATH: programs });
  expect(broker.output.stderr).toContain("core dumps could not be forbidden");
  const answer = await (await fetch(`${broker.url}/readyz`)).json();
  expect(answer).toMatchObject({
    status: "degraded",
    complaints: [{ part: "process", message: expect.stringContaining("core dumps") }],
  });
});
