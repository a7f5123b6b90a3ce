/**
 * One broker in a process of its own, served over HTTP on loopback: `node test/support/replica.ts [REDIS-URL]`. Without a
 * URL its handles are in its memory. It says where it is and what token it takes, and lives until it is killed or
 * its input ends, as it does with the process that started it.
 */
import { serve } from "@hono/node-server";
import { memoryStore } from "../../broker/store/memory.ts";
import { redisStore } from "../../broker/store/redis.ts";
import { startBroker } from "./broker.ts";

const [redis] = process.argv.slice(2);
const broker = await startBroker({
  environment: { API_TOKEN: "guessme" },
  // Patient: a race is about who wins, and the machine may be busy.
  store: redis === undefined ? memoryStore() : redisStore({ url: redis, timeLimit: 30_000 }),
});
const accessToken = await broker.token();
serve({ fetch: broker.app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}`, accessToken })}\n`);
});
process.stdin.resume().once("close", () => process.exit());
