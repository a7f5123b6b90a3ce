/**
 * The operator's log: a line of JSON on standard error for each request and for each thing that the broker takes note
 * of. Lines have fields of ours alone. What a client, a token or an upstream says is in none of them: not the path
 * (people paste values there), no header but the trace id in its one form, no body, and of a cause only its code or name.
 */
import { pino } from "pino";
import type { RequestEntry } from "../../broker/broker.ts";
import type { PolicyEvent } from "../../broker/policy/live.ts";
import { causeWord } from "../host/cause-word.ts";
import type { CertificateEvent } from "./certificate.ts";
import type { SourcesEvent } from "./live-sources.ts";

export type Log = (entry: RequestEntry | PolicyEvent | CertificateEvent | SourcesEvent) => void;

export function createLog(): Log {
  const logger = pino(
    {
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  return (entry) => {
    const { cause, ...rest } = { cause: undefined, ...entry };
    const short = causeWord(cause);
    const failed = "status" in rest && rest.status >= 500;
    logger[failed ? "error" : "info"]({ ...rest, ...(short !== undefined && { cause: short }) });
  };
}
