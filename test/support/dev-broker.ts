/** `claimcheck broker --dev`, started as its reader would: a process, and the variables that it tells clients to set. */

import { freePort } from "../parts/free-port.ts";
import { printed, start } from "./command.ts";

/** @param environment what `env://` finds there. */
export async function startDevBroker(environment: Record<string, string>) {
  const port = await freePort();
  const names = Object.keys(environment).flatMap((name) => ["--env", name]);
  const broker = start(["broker", "--dev", "--listen", `127.0.0.1:${port}`, ...names], { env: environment });
  await printed(broker, "CLAIMCHECK_TOKEN=");
  const exports = [...broker.output.stdout.matchAll(/^export (\w+)=(.*)$/gm)];
  return {
    broker,
    env: Object.fromEntries(exports.map(([, name, value]) => [name, value])) as Record<string, string>,
  };
}
