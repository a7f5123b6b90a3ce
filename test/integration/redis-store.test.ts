/** The Redis store keeps what broker/store/store.ts promises, over a real server. */
import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { redisStore } from "../../broker/store/redis.ts";
import type { HandleStore } from "../../broker/store/store.ts";
import { type RedisServer, startRedis } from "../parts/redis.ts";
import { describeEnding } from "../stores/ending.ts";
import type { Subject } from "../stores/fixtures.ts";
import { describeRepeating } from "../stores/repeating.ts";
import { describeTaking } from "../stores/taking.ts";

let server: RedisServer;
let opened: HandleStore[] = [];

beforeAll(async () => {
  server = await startRedis();
});

afterEach(async () => {
  for (const store of opened) await store.close();
  opened = [];
});

afterAll(() => server.stop());

/** A server's clock cannot be set, so all ends are moved nearer: to the store that is the same. */
const bringNearer = `
  for _, key in ipairs(redis.call('KEYS', '*')) do
    local ends = redis.call('PEXPIRETIME', key)
    if ends > 0 then redis.call('PEXPIREAT', key, ends - ARGV[1] * 1000) end
  end`;

const subject: Subject = {
  create: async () => {
    const store = redisStore({ url: server.url });
    opened.push(store);
    return store;
  },
  elapse: async (seconds) => {
    await server.command("EVAL", bringNearer, 0, seconds);
  },
};

describe("the Redis store", () => {
  describeTaking(subject);
  describeRepeating(subject);
  describeEnding(subject);
});
