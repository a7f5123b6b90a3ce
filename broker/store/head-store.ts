/** Heads of audit logs in Redis: see broker/audit/heads.ts. A year after the last write of a chain nobody asks for them. */
import type { HeadStore } from "../audit/heads.ts";
import type { RunScript } from "./connection.ts";

const lifetime = 366 * 24 * 60 * 60;

const get = `return redis.call('GET', KEYS[1])`;
/** ARGV: head, seconds. Sent again it says the same; an older one that is run late makes a broker refuse less, never more. */
const set = `redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])`;

export function redisHeads(run: RunScript): HeadStore {
  const key = (name: string) => `claimcheck:audit-head:${name}`;
  return {
    async get(name) {
      const text = await run(get, [key(name)], []);
      return text === null ? undefined : String(text);
    },
    async set(name, text) {
      await run(set, [key(name)], [text, String(lifetime)]);
    },
  };
}
