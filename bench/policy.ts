// How long a decision takes when there are many rules.
//
//   node bench/policy.ts [rules, default 10000] [decisions, default 20000]
//
// Three files: one as a platform team would write it (a rule a repository, some that deny); one where all rules are over
// the same secrets and told apart by wildcards alone; and one as bad as the index can have it, where the wildcards come
// first. Each is asked the same questions as a linear scan of the same rules; printed are medians and their ratio.

import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Caller } from "../broker/authn/caller.ts";
import type { Policy, Rule } from "../broker/policy/decide.ts";
import { createLinearPolicy } from "../test/support/linear-policy.ts";
import { createPolicy } from "../test/support/policy.ts";
import { dice } from "./ci-log.ts";
import { median, table } from "./report.ts";

interface Question {
  readonly caller: Caller;
  readonly uri: string;
}

interface Scenario {
  readonly name: string;
  readonly rules: Rule[];
  ask(roll: (sides: number) => number): Question;
}

const limits = { ttl: 900, uses: 1 };
const caller = (tenant: string, claims: Record<string, string>): Caller => ({
  tenant,
  principal: "ci",
  accessToken: "",
  claims,
  roles: ["requester"],
  proofKeys: [],
  anyProofKey: false,
});

/** A hundred teams with their repositories, in one tenant, so that the tenant alone helps nothing. */
function teams(count: number): Scenario {
  const rules = Array.from({ length: count }, (_, index): Rule => {
    const [team, app] = [index % 100, Math.floor(index / 100)];
    if (app % 20 === 19) {
      const secrets = [`vault://secret/team-${team}/**/root#*`];
      return {
        name: `deny ${index}`,
        tenant: "acme",
        effect: "deny",
        actions: ["issue"],
        who: {},
        secrets,
        limits,
      };
    }
    return {
      name: `allow ${index}`,
      tenant: "acme",
      effect: "allow",
      actions: ["issue", "redeem"],
      who: { repository: `team-${team}/app-${app}`, ref: ["refs/heads/main", "refs/tags/**"] },
      secrets: [`vault://secret/team-${team}/app-${app}/*#*`, `vault://secret/shared/*#read-${app}`],
      limits,
    };
  });
  return {
    name: "a rule a repository",
    rules,
    ask(roll) {
      const [team, app, other] = [roll(100), roll(Math.ceil(count / 100)), roll(100)];
      const claims = {
        repository: `team-${team}/app-${app}`,
        ref: roll(4) === 0 ? "refs/heads/dev" : "refs/heads/main",
      };
      const where = [
        `team-${team}/app-${app}/db#password`,
        `shared/npm#read-${app}`,
        `team-${other}/app-${app}/db#password`,
      ];
      return { caller: caller("acme", claims), uri: `vault://secret/${where[roll(3)]}` };
    },
  };
}

/** Rules over the same secrets, told apart by one pattern each. */
function sameSecrets(count: number, name: string, patternOf: (index: number) => string): Scenario {
  const rules = Array.from(
    { length: count },
    (_, index): Rule => ({
      name: `allow ${index}`,
      effect: "allow",
      actions: ["issue"],
      who: { repository: patternOf(index) },
      secrets: ["vault://**"],
      limits,
    }),
  );
  return {
    name,
    rules,
    ask: (roll) => ({
      caller: caller("acme", { repository: patternOf(roll(count)).replace("*", "any") }),
      uri: "vault://secret/a#b",
    }),
  };
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heap(): number {
  // What the first finds dead may keep more alive until it is gone.
  collectGarbage();
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** The median time of a decision in microseconds; the first pass warms up. */
function measure(policy: Pick<Policy, "decide">, questions: readonly Question[]): number {
  const times: number[] = [];
  for (const pass of [0, 1]) {
    for (const { caller: asking, uri } of questions) {
      const start = process.hrtime.bigint();
      policy.decide(asking, "issue", uri);
      if (pass === 1) times.push(Number(process.hrtime.bigint() - start) / 1e3);
    }
  }
  return median(times);
}

function row({ name, rules, ask }: Scenario, decisions: number): string[] {
  const roll = dice(7);
  const questions = Array.from({ length: decisions }, () => ask(roll));
  const before = heap();
  const start = performance.now();
  const indexed = createPolicy(rules);
  const built = performance.now() - start;
  const memory = heap() - before;
  const ours = measure(indexed, questions);
  const theirs = measure(createLinearPolicy(rules), questions.slice(0, Math.ceil(decisions / 40)));
  return [
    name,
    `${ours.toFixed(1)} µs`,
    `${theirs.toFixed(0)} µs`,
    `${(theirs / ours).toFixed(0)} ×`,
    `${(memory / 2 ** 20).toFixed(1)} MiB`,
    `${built.toFixed(0)} ms`,
  ];
}

export async function run(count = 10_000, decisions = 20_000): Promise<void> {
  table(
    `One decision among ${count} rules, median`,
    ["", "indexed", "linear", "ratio", "memory", "built in"],
    [
      teams(count),
      sameSecrets(count, "a wildcard a team", (index) => `acme/team-${index}-*`),
      sameSecrets(count, "nothing to index by", (index) => `*/app-${index}`),
    ].map((scenario) => row(scenario, decisions)),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [count, decisions] = process.argv.slice(2).map(Number);
  await run(count, decisions);
}
