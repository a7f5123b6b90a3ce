/** claimcheck run --executor: the same command, run by the executor of this host. */
import { constants } from "node:os";
import { isAbsolute } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { generalOf, type PlanDocument, writePlan, writeStep } from "../../executor/plan/document.ts";
import { loginsOf, type Plan, type Step, secretsOf } from "../../executor/plan/plan.ts";
import { planTable } from "../../executor/plan/plan-table.ts";
import { type ExecutorAddress, sendRun } from "../../executor/server/client.ts";
import { Failure } from "../../shared/failure.ts";
import { brokerUrl } from "../connect/connection.ts";
import { checkToken, tokenSource } from "../connect/token.ts";
import { splitAddress } from "../host/address.ts";
import type { HandlesAndValues } from "./handles-and-values.ts";
import type { Output } from "./output.ts";
import { leaveUnread } from "./standard-streams.ts";

interface Where {
  /** A socket's path, or HOST:PORT. */
  readonly executor: string;
  readonly broker?: string;
  readonly tokenFile?: string;
}

/** @param plan with its document, where it has one. */
export async function runRemotely(
  plan: Pick<Plan, "image" | "registries" | "steps" | "storage"> & {
    readonly document?: PlanDocument | undefined;
    /** Whether results may come from the executor's cache. */
    readonly cache: boolean;
  },
  { values }: HandlesAndValues,
  where: Where,
  environment: NodeJS.ProcessEnv,
  { sinksOf, progress }: Pick<Output, "sinksOf" | "progress">,
  cancelled?: AbortSignal,
): Promise<number> {
  const { storage } = plan;
  const written = plan.document ?? {
    version: 1,
    image: plan.image,
    steps: plan.steps.map(toFields),
    ...writePlan({ storage }),
  };
  if (!isDeepStrictEqual(generalOf(written).storage, storage)) {
    throw new Failure("usage", { detail: "--storage-opt: the plan's `storage` says it for an executor" });
  }
  // The document's own stay as they are, or it would be another plan.
  const logins = plan.registries.slice(written.registryAuth?.length ?? 0);
  const document: PlanDocument = {
    ...written,
    ...(logins.length > 0 && {
      registryAuth: [...(written.registryAuth ?? []), ...planTable.registries.document.write(logins)],
    }),
  };
  const abort = new AbortController();
  let interrupted: number | undefined;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) {
    process.on(name, () => {
      interrupted ??= constants.signals[name];
      abort.abort();
    });
  }
  const token = await findToken(plan, where, environment);
  const encoded = [...values].map(([name, value]) => [name, Buffer.from(value.expose()).toString("base64")]);
  for (const value of values.values()) value.wipe();
  try {
    return await sendRun(
      addressOf(where.executor, environment),
      {
        plan: document,
        cache: plan.cache,
        ...(token !== undefined && { token }),
        ...(encoded.length > 0 && { values: Object.fromEntries(encoded) }),
      },
      {
        sinksOf,
        onProgress: progress,
        signal: cancelled ? AbortSignal.any([abort.signal, cancelled]) : abort.signal,
      },
    );
  } catch (thrown) {
    if (cancelled?.aborted) interrupted ??= constants.signals.SIGKILL;
    if (interrupted === undefined) throw thrown;
    leaveUnread();
    return 128 + interrupted;
  }
}

/** The job's own, where the plan needs one. */
async function findToken(
  { registries, steps }: Pick<Plan, "registries" | "steps">,
  { broker, tokenFile }: Where,
  environment: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const sources = [loginsOf(registries), ...steps.map(secretsOf)].flat().map(({ source }) => source);
  if (sources.every((source) => "handle" in source)) return undefined;
  const url = broker ?? environment.CLAIMCHECK_BROKER;
  const find = tokenSource(tokenFile, environment, url ? brokerUrl(url) : undefined);
  return find();
}

function addressOf(
  text: string,
  { CLAIMCHECK_EXECUTOR_TOKEN: token = "" }: NodeJS.ProcessEnv,
): ExecutorAddress {
  if (isAbsolute(text) || text.startsWith(".")) return { socketPath: text };
  const address = splitAddress(text);
  if (!address) throw new Failure("usage", { detail: "--executor takes a socket's path, or HOST:PORT" });
  return { ...address, token: token && checkToken("CLAIMCHECK_EXECUTOR_TOKEN", token) };
}

/** @throws {Failure} `usage` for what only a run of one's own can do. */
function toFields(step: Step): PlanDocument["steps"][number] {
  const fields = writeStep(step);
  if (fields) return fields;
  throw new Failure("usage", { detail: "the executor does not offer one of these flags, such as -i" });
}
