/** What a connection to a central broker needs, looked at in the order in which a run would fail. */
import { createBrokerCall, understand } from "../../executor/broker-client/call.ts";
import { createBrokerKeys } from "../../executor/broker-client/keys.ts";
import { printable } from "../../shared/printable.ts";
import { Readiness, type WhoAmI } from "../../shared/wire.ts";
import { brokerUrl, directFetch } from "../connect/connection.ts";
import type { Check } from "./check.ts";

/** Tokens and proofs allow for a little. In seconds. */
const skewLimit = 30;

/** For one answer, in milliseconds. */
const patience = 10_000;

interface Connection {
  readonly url: string;
  readonly pinned: readonly string[];
  /** What an executor's configuration says that the broker calls it: handles are made for that name. */
  readonly named?: string;
  /** Asks the broker who we are, with the token that a run would send. */
  readonly whoAmI: () => Promise<WhoAmI>;
}

export function brokerChecks({ url: given, pinned, named, whoAmI }: Connection): Check[] {
  const signal = () => AbortSignal.timeout(patience);
  const get = async (path: string) =>
    directFetch(`${brokerUrl(given)}${path}`, { method: "GET", signal: signal() });
  const call = (method: string, path: string) =>
    createBrokerCall({ url: brokerUrl(given), fetch: directFetch, signal: signal() })(method, path);
  return [
    {
      name: "broker",
      remedy: "check the URL, the network between here and there, and that the broker runs",
      async look() {
        const { ok, status } = await get("/healthz").catch((error: Error) => {
          const { code, message } = (error.cause ?? {}) as { code?: string; message?: string };
          throw new Error(`${given} cannot be reached (${code ?? message ?? error.name})`);
        });
        if (!ok) throw new Error(`${given} answers with HTTP status ${status}`);
        return given;
      },
    },
    {
      name: "readiness",
      after: "broker",
      remedy: "tell the broker's operator; its log says more",
      async look() {
        const { status, complaints } = understand(Readiness, await call("GET", "/readyz"));
        const each = complaints.map(({ part, message }) => printable(`${part}: ${message}`));
        if (status !== "ready") throw new Error(each.join("; "));
        return status;
      },
    },
    {
      name: "clock",
      after: "broker",
      remedy: "let both hosts keep time by NTP (Debian: apt install systemd-timesyncd)",
      async look() {
        const answer = await get("/healthz");
        const theirs = Date.parse(answer.headers.get("date") ?? "");
        if (Number.isNaN(theirs)) return "the broker does not say its time";
        const apart = Math.round(Math.abs(theirs - Date.now()) / 1000);
        if (apart > skewLimit) throw new Error(`${apart} seconds apart from the broker's`);
        return `within ${skewLimit} seconds of the broker's`;
      },
    },
    {
      name: "pins",
      after: "broker",
      remedy: "set CLAIMCHECK_BROKER_KEYS to what `claimcheck broker keys` prints there",
      async look() {
        if (pinned.length === 0) throw new Error("no key of the broker is pinned");
        await createBrokerKeys(call, pinned).wrappingKey();
        return `the broker's keys are among the ${pinned.length} pinned`;
      },
    },
    {
      name: "token",
      after: "broker",
      remedy: "bring a token of an issuer that the broker's policy names: --token-file, CLAIMCHECK_TOKEN",
      async look() {
        const { tenant, principal, roles, rules } = await whoAmI();
        const caller = printable(`${principal} of ${tenant}, ${roles.join(" and ")}`);
        if (named !== undefined && named !== principal) {
          throw new Error(`${caller}: broker.principal in the configuration is ${printable(named)}`);
        }
        const allowing = rules.filter(({ effect }) => effect === "allow");
        if (allowing.length === 0) throw new Error(`${caller}: no rule allows it anything`);
        return `${caller}; rules that allow it something: ${allowing.length} (claimcheck whoami lists them)`;
      },
    },
  ];
}
