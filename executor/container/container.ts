/** One step's container: its configuration, its secrets, its streams, until its command has ended. */
import type { Readable, Writable } from "node:stream";
import { Failure } from "../../shared/failure.ts";
import { Secret } from "../../shared/secret.ts";
import type { Secrets } from "../broker-client/secrets.ts";
import type { ImageConfig } from "../image/image.ts";
import { findUser } from "../image/user.ts";
import { forward } from "../output/forward.ts";
import type { OutputSource } from "../output/pipe.ts";
import type { BindMount, Step } from "../plan/plan.ts";
import type { ScrubStream } from "../scrub/scrubber.ts";
import type { TerminalSize } from "../supervisor/orders.ts";
import type { Supervisor } from "../supervisor/supervisor.ts";
import { nameFiles } from "./etc-files.ts";
import { type InjectedFile, injectFiles, injectVariables } from "./inject.ts";
import type { SeccompProfile } from "./seccomp.ts";
import { createSpec, userCount } from "./spec.ts";

interface ContainerContext {
  readonly config: ImageConfig;
  readonly supervisor: Supervisor;
  readonly seccomp: SeccompProfile;
  /** Of the step, counted from 0 on. */
  readonly index: number;
  /** The size of its terminal, if the step has one. */
  readonly screen: () => TerminalSize;
}

/** Makes ready what a step's container needs beside its secrets. */
export async function draftContainer(
  step: Step,
  { config, supervisor, seccomp, index, screen }: ContainerContext,
) {
  const { id, hook } = supervisor;
  if (step.files.length > 0) {
    const before = supervisor.rootfs();
    const owned = step.files.map((file) => ({ ...file, owner: findUser(file.owner, before) }));
    await supervisor.place(owned);
  }
  const rootfs = supervisor.rootfs();
  const firstUser = await supervisor.firstUser();
  const find = (name: string) => {
    const found = findUser(name, rootfs);
    if (firstUser !== undefined && Math.max(found.uid, found.gid) >= userCount)
      throw new Failure("invalid_user", {
        detail: `${name}: a container's users and groups have the numbers 0 to ${userCount - 1}`,
      });
    return found;
  };
  const user = find(step.user ?? config.User ?? "");
  const spec = createSpec(step, {
    config,
    user,
    hostname: id,
    cgroup: `${id}-${index + 1}`,
    firstUser,
    seccomp,
    hook,
    screen: screen(),
  });
  // Before anything is mounted: for that the supervisor goes to where the host is in view, and its root with it.
  const secretFiles = step.secretFiles.map((file) => ({ ...file, owner: find(file.owner) }));
  // Those around others first.
  const depth = ({ target }: BindMount) => target.split("/").length;
  for (const bind of step.binds.toSorted((a, b) => depth(a) - depth(b))) supervisor.mount({ ...bind, user });
  return {
    spec,
    user,
    files: nameFiles({ name: id, network: step.network }),
    secretFiles,
  };
}

/** Orders the container of a step whose secrets have been redeemed. */
export function createContainer(
  step: Step,
  { spec, user, files, secretFiles }: Awaited<ReturnType<typeof draftContainer>>,
  { supervisor, screen }: Pick<ContainerContext, "supervisor" | "screen">,
  secrets: Secrets,
) {
  const secret = secretFiles.map(
    ({ path, source, mode, owner }): InjectedFile => ({ path, value: secrets.valueOf(source), mode, owner }),
  );
  const variables = step.secretVariables.map(({ name, source }) => ({
    name,
    value: secrets.valueOf(source),
  }));
  return supervisor.create({
    configuration: injectVariables(spec, variables),
    files: [...files, ...injectFiles(secret)],
    user,
    hasInput: step.interactive || step.secretInput !== undefined,
    screen: step.terminal ? screen : undefined,
    isBridged: step.network === "bridge",
  });
}

/** Where a step's output goes. */
export interface Sinks {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

interface Streams {
  readonly stdin: Writable | undefined;
  readonly stdout: OutputSource;
  readonly stderr: OutputSource;
  readonly exited: Promise<number>;
}

interface Attendance {
  readonly input: Readable | Secret | undefined;
  /** When nobody who reads the output is waited for any more. */
  readonly cut: AbortSignal;
  readonly scrub: (stream: keyof Sinks) => ScrubStream;
  readonly sinks: Sinks;
  /** The command has ended; what it printed may still be on its way. */
  readonly onEnd: () => void;
}

/**
 * Gives a running command its input and forwards what it prints, until both have ended.
 *
 * @returns `isRead`, whether all of its output was taken.
 * @throws {Failure} `output_failed`, once the command has ended.
 */
export async function attend(
  { stdin, stdout, stderr, exited }: Streams,
  { input, cut, scrub, sinks, onEnd }: Attendance,
): Promise<{ readonly exitCode: number; readonly isRead: boolean }> {
  if (stdin) feed(stdin, input);
  const ended = exited.finally(() => {
    stdout.finish();
    stderr.finish();
    if (!(input instanceof Secret)) input?.destroy();
    onEnd();
  });
  const passing = [
    forward(stdout, scrub("stdout"), sinks.stdout, { name: "standard output", cut }),
    forward(stderr, scrub("stderr"), sinks.stderr, { name: "standard error", cut }),
  ];
  await Promise.allSettled([ended, ...passing]);
  const [exitCode, ...taken] = await Promise.all([ended, ...passing]);
  return { exitCode, isRead: taken.every(Boolean) };
}

/** As far as it wants it: what it leaves unread is lost, as in a pipe. */
function feed(stdin: Writable, source: Readable | Secret | undefined): void {
  // It may close its input or end without having read it all.
  stdin.on("error", () => {});
  if (source instanceof Secret) stdin.end(source.expose());
  else source?.pipe(stdin);
}
