/**
 * A server of its own process for bench/broker.ts: `node bench/broker-server.ts hono` echoes JSON, `… broker [LOG]`
 * is a broker with its handles in memory, and with a log in the file or the database that is named. It says what it is on a line.
 */
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { createLocalBroker } from "../bin/serve-broker/local-broker.ts";
import { envProvider } from "../broker/providers/env.ts";
import type { Provider } from "../broker/providers/provider.ts";
import { Secret } from "../shared/secret.ts";
import { brokerName } from "./broker.ts";

const [kind, log] = process.argv.slice(2);

async function create() {
  if (kind === "hono") {
    const app = new Hono();
    app.post("/v1/handles", async (c) => c.json(await c.req.json()));
    return { app, accessToken: "" };
  }
  return createLocalBroker({
    url: brokerName,
    rootKey: new Secret(new Uint8Array(32)),
    providers: [envProvider({ API_TOKEN: "guessme" }) as unknown as Provider],
    audit: log?.startsWith("postgres:") ? { postgres: { url: log, broker: "bench" } } : { file: log },
    rule: "bench",
    tokenLifetime: 3600,
    log: () => {},
  });
}

const { app, accessToken } = await create();
serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}`, accessToken })}\n`);
});
