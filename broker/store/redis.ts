/**
 * Handles in Redis or Valkey, shared by all brokers that connect to it. How they lie there, and why a restart or a
 * failover of the server voids them, is in scripts.ts.
 */
import { createHash, randomUUID } from "node:crypto";
import { connect, defaultTimeLimit, type Reply } from "./connection.ts";
import * as scripts from "./scripts.ts";
import {
  type HandleState,
  type HandleStore,
  type OpenHandle,
  type Redemption,
  repeatWindow,
  type Taken,
  type Taker,
} from "./store.ts";

interface RedisSettings {
  /** `redis[s]://[[USER][:PASSWORD]@]HOST[:PORT][/DATABASE]` */
  readonly url: string;
  /** For one operation, in milliseconds. */
  readonly timeLimit?: number;
}

export function redisStore({ url, timeLimit = defaultTimeLimit }: RedisSettings): HandleStore {
  const { run, trouble, close } = connect(url, timeLimit);

  // The braces make the tenant the part that Redis Cluster places keys by; encoded, or "}" would end it early.
  const key = (tenant: string, ...names: string[]) =>
    `claimcheck:{${encodeURIComponent(tenant)}}:${names.join(":")}`;
  const revocationsOf = (tenant: string) => key(tenant, "revocations");
  const handleOf = (tenant: string, jti: string) => key(tenant, "handle", jti);

  return {
    async put(handles) {
      for (const tenant of new Set(handles.map((handle) => handle.tenant))) {
        const added = handles.filter((handle) => handle.tenant === tenant);
        const keys = [revocationsOf(tenant), ...added.map(({ jti }) => handleOf(tenant, jti))];
        const values = new Map(added.map(({ value, sealed }) => [value, sealed]));
        const lastOf = (id: string) =>
          Math.max(...added.flatMap(({ value, expires }) => (value === id ? [expires] : [])));
        const sent = [...values].flatMap(([id, sealed]) => [id, String(lastOf(id)), sealed]);
        const args = added.flatMap((handle) =>
          scripts.fieldNames.map((name) => (handle[name] === undefined ? "" : `=${handle[name]}`)),
        );
        await run(scripts.put, keys, [randomUUID(), String(values.size), ...sent, ...args]);
      }
    },

    async look(tenant, jtis, taker) {
      const keys = [revocationsOf(tenant), ...jtis.map((jti) => handleOf(tenant, jti))];
      const found = listOf(await run(scripts.look, keys, [taker ? nameOf(taker) : ""]));
      return jtis.map((jti, index): HandleState | undefined => {
        const reply = found[index];
        if (!reply) return undefined;
        const [left, by] = listOf(reply).slice(scripts.fieldNames.length);
        return { ...readHandle(tenant, jti, reply), left: Number(left), taken: Number(by ?? 0) > 0 };
      });
    },

    async take(redemption, jtis): Promise<Taken> {
      const { tenant, id } = redemption;
      const keys = [
        revocationsOf(tenant),
        key(tenant, "redemption", id),
        ...jtis.map((jti) => handleOf(tenant, jti)),
      ];
      const attempt = randomUUID();
      const args = [requestOf(redemption, jtis), attempt, String(repeatWindow), nameOf(redemption)];
      const [outcome, ...rest] = listOf(await run(scripts.take, keys, args));
      switch (String(outcome)) {
        case "conflict":
          return { outcome: "conflict" };
        case "refused": {
          const [unknown, spent] = rest.map((each) => listOf(each).map(Number));
          return { outcome: "refused", unknown: unknown ?? [], spent: spent ?? [] };
        }
        default: {
          const values = new Map<string, Uint8Array>();
          const sent = listOf(rest[1]);
          for (let at = 0; at < sent.length; at += 2) {
            values.set(String(sent[at]), Uint8Array.from((sent[at + 1] as Buffer | null) ?? []));
          }
          const handles = listOf(rest[0]).map((reply, index): OpenHandle => {
            const handle = readHandle(tenant, jtis[index] as string, reply);
            return { ...handle, sealed: values.get(handle.value) ?? new Uint8Array() };
          });
          return String(outcome) === "repeat"
            ? { outcome: "repeat", handles }
            : { outcome: "taken", handles, attempt };
        }
      }
    },

    async giveBack(redemption, attempt, jtis) {
      const { tenant, id } = redemption;
      const keys = [key(tenant, "redemption", id), ...jtis.map((jti) => handleOf(tenant, jti))];
      await run(scripts.giveBack, keys, [attempt, nameOf(redemption)]);
    },

    async revoke(tenant, revocation) {
      if ("jti" in revocation) {
        await run(scripts.remove, [handleOf(tenant, revocation.jti)], []);
        return;
      }
      const [[kind, name]] = Object.entries(revocation) as [[string, string | true]];
      const mark = name === true ? kind : `${kind}:${name}`;
      await run(scripts.revoke, [revocationsOf(tenant)], [mark, randomUUID()]);
    },

    async rememberProof(jti, expires) {
      return (
        (await run(scripts.rememberProof, [`claimcheck:proof:${jti}`], [randomUUID(), String(expires)])) === 1
      );
    },

    complaints() {
      const message = trouble();
      return message === undefined ? [] : [{ part: "store", message, serving: false }];
    },

    async close() {
      close();
    },
  };
}

/** Of fixed length, because it names a field of every handle that the taker takes. */
const nameOf = ({ principal, jkt, run }: Taker) =>
  createHash("sha256")
    .update(JSON.stringify([principal, jkt, run]))
    .digest("base64url");

const requestOf = (redemption: Redemption, jtis: readonly string[]) =>
  createHash("sha256")
    .update(JSON.stringify([nameOf(redemption), jtis]))
    .digest("base64url");

function listOf(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw new Error("Redis gave an answer that no script of Claimcheck gives");
  return reply;
}

function readHandle(tenant: string, jti: string, reply: Reply): Omit<OpenHandle, "sealed"> {
  const values = listOf(reply);
  const read = scripts.fieldNames.flatMap((name, nth) =>
    // Only of `run` is there none.
    name === "run" && values[nth] === null ? [] : [[name, scripts.fields[name](values[nth])]],
  );
  return { ...(Object.fromEntries(read) as Omit<OpenHandle, "sealed" | "tenant" | "jti">), tenant, jti };
}
