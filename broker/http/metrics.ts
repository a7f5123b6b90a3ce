/**
 * What the broker counts, for Prometheus: every name is in this file. Labels have few values, all of them ours: route
 * templates, codes, schemes, sources. None says whose request it was or which secret it was about.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { Secret } from "../../shared/secret.ts";
import type { AuditLog } from "../audit/log.ts";
import type { RequestEntry } from "../broker.ts";
import type { ReadResult } from "../providers/provider.ts";
import type { Observer } from "../resolve/shared-read.ts";
import type { Source } from "../resolve/source.ts";
import type { HandleStore } from "../store/store.ts";

/** In seconds: from a handle in memory to a provider's time limit. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30];

const labelsOf = ({ scheme, name = "" }: Source) => ({ scheme, source: name });

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });

  const requests = new Counter({
    name: "claimcheck_requests_total",
    help: "Requests that were answered, by route and code; the code is ok or that of the error.",
    labelNames: ["route", "code"],
    registers,
  });
  const requestTime = new Histogram({
    name: "claimcheck_request_duration_seconds",
    help: "How long answers took: POST /v1/handles is issuing, POST /v1/redemptions redeeming.",
    labelNames: ["route"],
    buckets,
    registers,
  });
  const reads = new Counter({
    name: "claimcheck_provider_reads_total",
    help: "Secrets that the broker requested from a source, by result: ok or the error's code.",
    labelNames: ["scheme", "source", "code"],
    registers,
  });
  const hits = new Counter({
    name: "claimcheck_cache_hits_total",
    help: "Secrets that the broker requested from no source, because it remembered a value or a failure.",
    labelNames: ["scheme", "source", "kind"],
    registers,
  });
  const circuits = new Gauge({
    name: "claimcheck_circuit_open",
    help: "The number of tenants for which the broker does not ask a source, because it failed too often or limits its rate.",
    labelNames: ["scheme", "source"],
    registers,
  });
  const recordTime = new Histogram({
    name: "claimcheck_audit_record_duration_seconds",
    help: "How long decisions waited for their record to be on the disk.",
    buckets,
    registers,
  });
  const underWay = new Set<{ readonly since: number }>();
  new Gauge({
    name: "claimcheck_audit_lag_seconds",
    help: "The age of the oldest decision that is not on the disk yet.",
    registers,
    collect() {
      const [oldest] = underWay;
      this.set(oldest ? (performance.now() - oldest.since) / 1000 : 0);
    },
  });

  return {
    contentType: register.contentType,

    /** The exposition, as text. */
    read: (): Promise<string> => register.metrics(),

    request({ method, route, seconds, code = "ok" }: RequestEntry): void {
      // What has no route has whatever method and path somebody thought of.
      const label = route === undefined ? "none" : `${method} ${route}`;
      requests.inc({ route: label, code });
      requestTime.observe({ route: label }, seconds);
    },

    source: {
      read: (source: Source, result: ReadResult) =>
        reads.inc({ ...labelsOf(source), code: result instanceof Secret ? "ok" : result.code }),
      hit: (source: Source, result: ReadResult) =>
        hits.inc({ ...labelsOf(source), kind: result instanceof Secret ? "value" : "failure" }),
      circuit: (source: Source, open: number) => circuits.set(labelsOf(source), open),
    } satisfies Observer,

    /** The same log, with its time taken. */
    timed(log: AuditLog): AuditLog {
      return {
        ...log,
        async record(records) {
          const decision = { since: performance.now() };
          underWay.add(decision);
          try {
            return await log.record(records);
          } finally {
            underWay.delete(decision);
            recordTime.observe((performance.now() - decision.since) / 1000);
          }
        },
      };
    },

    /** Counts what a store holds, where the store knows it. */
    watch({ size }: HandleStore): void {
      if (!size) return;
      new Gauge({
        name: "claimcheck_open_handles",
        help: "Handles in this broker's memory. Those in Redis are counted there.",
        registers,
        collect() {
          this.set(size());
        },
      });
    },
  };
}
