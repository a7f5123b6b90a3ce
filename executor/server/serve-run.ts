/** One run, from what was asked for to the last event. */
import type { ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";
import { newerDocument } from "../../shared/newer.ts";
import { Secret } from "../../shared/secret.ts";
import type { BrokerClient } from "../broker-client/client.ts";
import type { Run, StepCache } from "../cache/step-cache.ts";
import type { SeccompProfile } from "../container/seccomp.ts";
import { checkPlan } from "../plan/check.ts";
import { generalOf, PlanDocument, toStep } from "../plan/document.ts";
import { hashPlan } from "../plan/hash.ts";
import type { Plan } from "../plan/plan.ts";
import { startRun } from "../run/run.ts";
import {
  type ContainerUsers,
  type Supervisor,
  type SupervisorSettings,
  startSupervisor,
} from "../supervisor/supervisor.ts";
import { type EventStream, openEvents } from "./event-stream.ts";
import { type Permissions, permit, permitFound } from "./permissions.ts";
import type { RunQueue } from "./run-queue.ts";
import type { RunRequest } from "./wire.ts";

export interface Workplace {
  /** @param token the job's, if it sent one. */
  readonly connect: (token: string | undefined, signal: AbortSignal) => Promise<BrokerClient>;
  readonly permissions: Permissions;
  readonly places: RunQueue;
  readonly runtime: string;
  readonly userns: ContainerUsers;
  readonly seccomp: SeccompProfile;
  /** The folder for what runs and images need. */
  readonly state: string;
  /** For the programs that are started. */
  readonly environment: Readonly<Record<string, string>>;
  /** Has supervisors for runs. */
  readonly supervise: (settings: SupervisorSettings) => Supervisor;
  /** Where results are kept and taken from. */
  readonly openCache?: (run: Run) => Promise<StepCache>;
  /** An image was pulled, and the storage has grown. */
  readonly onPulled?: () => void;
  /** A client that takes nothing for this long, in milliseconds, is gone. */
  readonly stallLimit: number;
}

/** For a client to read why its run was ended, in milliseconds: one that does not read keeps no executor from stopping. */
const lastWords = 5_000;

/**
 * @param stop ends the run.
 * @returns what the run came to: its exit code, or the code of what went wrong.
 * @throws {ClaimcheckError} where it does not even begin, and nothing has been answered.
 */
export async function serveRun(
  asked: RunRequest,
  response: ServerResponse,
  workplace: Workplace,
  stop: AbortSignal,
): Promise<number | string> {
  const plan = readPlan(asked, workplace.permissions);
  const place = workplace.places.ask();
  const events = openEvents(response, workplace.stallLimit);
  let onStop = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    onStop = resolve;
  });
  let finished: Promise<unknown> = Promise.resolve();
  stop.addEventListener("abort", onStop);
  void stopped.then(() => setTimeout(() => response.destroy(), lastWords).unref());
  try {
    if (!place.isFree) void events.send({ type: "progress", text: "waiting for other runs to end" });
    await Promise.race([place.free, events.closed, stopped]);
    if (response.destroyed) return "cancelled";
    if (stop.aborted) throw new ClaimcheckError("executor_stopping");
    const gone = Promise.race([events.closed, stopped]);
    const run = perform(plan, asked, events, workplace, gone);
    ({ finished } = run);
    // A client that does not read what its run came to keeps nobody else's from beginning.
    void finished.then(place.leave, place.leave);
    // Whoever waits for a result does not wait for the clean-up after it.
    const code = await run.result.catch(() => run.finished);
    if (stop.aborted) throw new ClaimcheckError("executor_stopping");
    await events.send({ type: "end", code });
    return code;
  } catch (thrown) {
    const error = errorOf(thrown);
    await events.send({ type: "error", ...error });
    return error.code;
  } finally {
    stop.removeEventListener("abort", onStop);
    events.end();
    await finished.catch(() => {});
    place.leave();
  }
}

function perform(
  plan: Plan,
  { token, values = {}, cache = true }: RunRequest,
  events: EventStream,
  { openCache, ...workplace }: Workplace,
  gone: Promise<void>,
): ReturnType<typeof startRun> {
  let current = 0;
  // What the host has mounted is what it had mounted when the supervisor was started: for what it mounts now there is a new one.
  const mountsHost = plan.steps.some(({ binds }) => binds.length > 0);
  const run = startRun(plan, {
    ...workplace,
    ...(mountsHost && { supervise: startSupervisor }),
    ...(cache && openCache && { openCache }),
    connect: (signal) => workplace.connect(token, signal),
    admit: (names) => permitFound(plan.image, names, workplace.permissions.images),
    openInput: () => new PassThrough().end(),
    stdout: events.output("stdout", () => current),
    stderr: events.output("stderr", () => current),
    onProgress: (text) => void events.send({ type: "progress", text }),
    onStep(step, name) {
      current = step;
      void events.send({ type: "step", step, ...(name !== undefined && { name }) });
    },
    onExit: (step, code) => void events.send({ type: "exit", step, code }),
    values: new Map(
      Object.entries(values).map(([name, text]) => [name, new Secret(Buffer.from(text, "base64"))]),
    ),
  });
  void gone.then(run.cancel);
  return run;
}

function readPlan({ plan }: RunRequest, permissions: Permissions): Plan {
  const parsed = PlanDocument.safeParse(plan);
  if (!parsed.success) {
    const newer = newerDocument(plan);
    if (newer !== undefined) throw new ClaimcheckError("invalid_request", { detail: `plan: ${newer}` });
    const where = parsed.error.issues.map(({ path }) => ["plan", ...path].join(".")).slice(0, 5);
    throw new ClaimcheckError("invalid_request", { detail: `wrong or missing: ${where.join(", ")}` });
  }
  const document = parsed.data;
  try {
    const steps = document.steps.map((fields) => toStep(fields));
    const asked = { ...generalOf(document), steps };
    checkPlan(asked);
    return {
      ...permit(asked, permissions),
      hash: hashPlan(document),
      masked: true,
      shortSecrets: "refuse",
    };
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    throw new ClaimcheckError("invalid_request", { detail: thrown.detail ?? thrown.message });
  }
}

function errorOf(thrown: unknown) {
  if (thrown instanceof Failure) {
    const { code, message: title, detail, exitCode } = thrown;
    return { code, title, ...(detail !== undefined && { detail }), exitCode };
  }
  const { code, message: title, detail } = asClaimcheckError(thrown);
  return { code, title, ...(detail !== undefined && { detail }), exitCode: 125 };
}
