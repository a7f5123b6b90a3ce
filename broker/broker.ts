/** What a broker is made of. The composition root puts it together; `issue` and `redeem` act on it. */
import type { AuditLog } from "./audit/log.ts";
import type { Authenticate } from "./authn/authenticate.ts";
import type { Complaint } from "./health.ts";
import type { BrokerKeys } from "./keys/keys.ts";
import type { Policy } from "./policy/decide.ts";
import type { Budgets } from "./quota/budget.ts";
import type { Quotas } from "./quota/quota.ts";
import type { Resolver } from "./resolve/resolver.ts";
import type { HandleStore } from "./store/store.ts";

export interface Broker {
  /** Where clients reach it: the handles' issuer, and what proofs are made for. No slash at the end. */
  readonly url: string;
  readonly authenticate: Authenticate;
  readonly policy: Policy;
  /** Missing where nobody shares the broker, and so are the budgets. */
  readonly quotas?: Quotas;
  readonly budgets?: Budgets;
  readonly resolver: Resolver;
  readonly keys: BrokerKeys;
  readonly store: HandleStore;
  readonly audit: AuditLog;
  /** What is not as it should be, for /readyz: sentences that anybody may read. */
  readonly complaints: () => readonly Complaint[];
  /** The operator's log: one entry a request, and the cause of what failed. Never a body. */
  readonly log: (entry: RequestEntry) => void;
}

export interface RequestEntry {
  readonly request: string;
  /** The trace's id, where the client says that it is part of one (W3C Trace Context). */
  readonly trace?: string;
  readonly method: string;
  /** The route's path, and not the request's, which may hold anything; missing where there is none. */
  readonly route?: string;
  readonly status: number;
  /** How long the answer took. */
  readonly seconds: number;
  readonly code?: string;
  readonly cause?: unknown;
}
