/**
 * How much a principal, and all principals of a tenant together, may ask for in a minute. What counts are secrets and
 * handles, because each of them costs a read, a record or a place in the store; a request counts as one at least.
 * Who is over a quota is refused before anything is read or recorded, and takes nothing from the tenant's.
 */
import { setTimeout } from "node:timers/promises";
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import type { Caller } from "../authn/caller.ts";
import type { RunScript } from "../store/connection.ts";

/** Asking for handles; redeeming and checking them; looking at them and revoking them. */
export const quotaNames = ["issue", "redeem", "manage"] as const;
export type QuotaName = (typeof quotaNames)[number];

const scopes = ["principal", "tenant"] as const;
type Scope = (typeof scopes)[number];

/** So many in a minute. */
export type QuotaLimits = Readonly<Record<QuotaName, Readonly<Record<Scope, number>>>>;

export const defaultQuotas: QuotaLimits = {
  issue: { principal: 6_000, tenant: 30_000 },
  redeem: { principal: 6_000, tenant: 30_000 },
  manage: { principal: 600, tenant: 3_000 },
};

/** In seconds. */
const period = 60;

/** A refusal takes this long, in milliseconds, so that who asks again as soon as it is answered asks seldom. */
const refusalTime = 500;

/** How one quota stands after a charge. */
interface Standing {
  readonly policy: string;
  readonly limit: number;
  readonly left: number;
  /** Until it is as full as ever, in seconds. */
  readonly reset: number;
}

export interface Charge {
  /** For the answer, whatever it is. */
  readonly headers: Readonly<Record<string, string>>;
  /** The one that has no room for what was asked. */
  readonly exceeded: Standing | undefined;
}

export type Quotas = ReturnType<typeof createQuotas>;

interface QuotaSettings {
  readonly limits: QuotaLimits;
  /** Where replicas count together; a broker without it counts in its own memory. */
  readonly run?: RunScript;
  /** Of refusals, in milliseconds. */
  readonly delay?: number;
}

export function createQuotas({ limits, run, delay = refusalTime }: QuotaSettings) {
  const limiters = new Map(
    quotaNames.flatMap((name) =>
      scopes.map((scope) => {
        const points = limits[name][scope];
        const policy = `${name}-${scope}`;
        return [
          policy,
          createLimiter({ points, duration: period, keyPrefix: `claimcheck:quota:${policy}` }, run),
        ];
      }),
    ),
  );

  async function consume(name: QuotaName, scope: Scope, key: readonly string[], amount: number) {
    const policy = `${name}-${scope}`;
    const consumed = await limiters
      .get(policy)!
      .consume(JSON.stringify(key), amount)
      .then(
        (result) => ({ result, fits: true }),
        (result) => {
          if (result instanceof RateLimiterRes) return { result, fits: false };
          throw result;
        },
      );
    const { remainingPoints: left, msBeforeNext } = consumed.result;
    const standing = { policy, limit: limits[name][scope], left, reset: Math.ceil(msBeforeNext / 1000) };
    return { standing, fits: consumed.fits };
  }

  return {
    /** @throws {ClaimcheckError} `store_unavailable` when replicas cannot count together: then nobody passes. */
    async charge(name: QuotaName, caller: Caller, amount: number): Promise<Charge> {
      const { tenant, principal } = caller;
      const own = await consume(name, "principal", [tenant, principal], amount);
      const all = own.fits ? await consume(name, "tenant", [tenant], amount) : undefined;
      const exceeded = all?.fits ? undefined : (all ?? own).standing;
      if (exceeded) await setTimeout(delay);
      return { headers: headersOf([own.standing, ...(all ? [all.standing] : [])], exceeded), exceeded };
    },
  };
}

interface Limit {
  readonly points: number;
  readonly duration: number;
  readonly keyPrefix: string;
}

function createLimiter(limit: Limit, run: RunScript | undefined) {
  if (!run) return new RateLimiterMemory(limit);
  // Whoever is over a quota is refused from memory until it is full again, so that a flood does not reach Redis.
  return new RateLimiterRedis({
    ...limit,
    inMemoryBlockOnConsumed: limit.points,
    storeClient: clientOf(run),
  });
}

/** As much of a client as the limiter uses, over a connection with time limits, retries and errors of ours. */
function clientOf(run: RunScript) {
  const client: Record<string, unknown> = {
    defineCommand(name: string, { lua }: { lua: string }) {
      client[name] = ([key, ...args]: [string, ...string[]]) => run(lua, [key], args);
    },
  };
  return client;
}

/** RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11), and Retry-After (RFC 9110) for a refusal. */
function headersOf(standings: readonly Standing[], exceeded: Standing | undefined): Record<string, string> {
  const list = (item: (standing: Standing) => string) => standings.map(item).join(", ");
  return {
    "ratelimit-policy": list(({ policy, limit }) => `"${policy}";q=${limit};w=${period}`),
    ratelimit: list(({ policy, left, reset }) => `"${policy}";r=${left};t=${reset}`),
    ...(exceeded && { "retry-after": String(exceeded.reset) }),
  };
}
