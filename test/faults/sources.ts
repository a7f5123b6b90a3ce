/** Another tenant's source hangs, limits or lies while a tenant reads from its own: the tenant must not feel it. */
import { setTimeout } from "node:timers/promises";
import { answering, type Fault, startBao, startProxy } from "../parts/openbao.ts";
import { sourcesOf } from "../support/sources.ts";
import type { Parts, Running, Scenario } from "./scenarios.ts";

/** How long the other tenant asks, in milliseconds. */
const time = 8_000;
const askers = 20;

interface Own extends Parts {
  readonly theirs: string;
  breakIt(): void;
  repair(): void;
}

function scenario(name: string, fault: Fault): Scenario {
  return {
    name,
    async prepare(): Promise<Own> {
      const bao = await startBao();
      const mount = await bao.mount("faults", 2);
      await bao.call("POST", `${mount}/data/app`, { data: { token: "guessme" } });
      const proxy = await startProxy(bao.address);
      const vault = (tenant: string, address: string) => ({
        provider: "vault",
        tenants: [tenant],
        address,
        auth: { token: "env://VAULT_TOKEN" },
      });
      const uri = `vault://${mount}/app#token?ttl=0`;
      return {
        uri,
        theirs: uri,
        fields: sourcesOf([], {
          own: vault("acme", bao.address),
          theirs: vault("attackers", proxy.address),
        }),
        env: { VAULT_TOKEN: bao.token },
        breakIt: () => proxy.breakWith(fault),
        repair: () => proxy.mend(),
        async close() {
          await proxy.close();
          await bao.close();
        },
      };
    },
    async run(parts: Parts, { load, attacker }: Running) {
      const { theirs, breakIt, repair } = parts as Own;
      breakIt();
      const end = performance.now() + time;
      const codes = new Set<string>();
      await Promise.all(
        Array.from({ length: askers }, async () => {
          const client = await load.connect(0, attacker);
          while (performance.now() < end) {
            await client.issue([{ uri: theirs }]).catch(({ code }) => codes.add(String(code)));
            await setTimeout(50);
          }
        }),
      );
      repair();
      const others = [...load.seen.keys()].filter((code) => code !== "ok");
      return { note: `the other saw ${[...codes].join(", ")}`, good: others.length === 0 && codes.size > 0 };
    },
  };
}

export const ofSources: readonly Scenario[] = [
  scenario("source of another tenant hangs", () => true),
  scenario("source of another tenant limits its rate for a day", answering(429, { "retry-after": "86400" })),
  scenario("source of another tenant lies", answering(200, {}, { data: { data: { other: ["x"] } } })),
];
