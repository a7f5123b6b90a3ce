/** Why a supervisor failed: what it or the runtime wrote, as a failure of ours. */
import type { Readable } from "node:stream";
import { Failure, type FailureCode } from "../../shared/failure.ts";
import type { Bound } from "./supervisor.ts";

/** Whose failure a step of the supervisor's is; of the others, the state folder's. */
const causes: Record<string, FailureCode> = {
  create: "runtime_failed",
  place: "invalid_plan",
  volume: "invalid_plan",
  target: "invalid_plan",
  keep: "invalid_layer",
  users: "unsupported_host",
  storage: "unsupported_host",
  view: "unsupported_host",
  mounts: "runtime_failed",
  terminal: "runtime_failed",
  network: "network_unavailable",
};

const isFull = (reason: string) => /no space left on device/i.test(reason);

/** @param storage the bound on what the run writes, if it has one. */
export async function explain(
  step: string,
  words: Promise<string>,
  storage: Bound | undefined,
): Promise<Failure> {
  const reason = await words;
  if (step === "storage") {
    const detail = `storage for the run cannot be made: ${reason}; it needs loop devices and mke2fs`;
    return new Failure(isFull(reason) ? "state_unusable" : "unsupported_host", { detail });
  }
  if (storage && step !== "disk" && isFull(reason)) {
    return new Failure("storage_full", {
      detail: `${storage.size} bytes for all steps together (${reason})`,
    });
  }
  if (/executable file not found|exec: "[^"]*": stat .*: no such file/.test(reason)) {
    return new Failure("command_not_found", { detail: quotedCommand(reason) });
  }
  if (/exec: "[^"]*": (permission denied|is a directory)/.test(reason)) {
    return new Failure("command_not_executable", { detail: quotedCommand(reason) });
  }
  const hidden = /mounting "(proc|sysfs)".*operation not permitted/.exec(reason)?.[1];
  if (hidden) {
    const folder = { proc: "/proc", sysfs: "/sys" }[hidden];
    const detail = `something is mounted over a part of this host's ${folder}, as in a container; Linux lets no user namespace mount one then; --userns host runs without one, with weaker isolation`;
    return new Failure("unsupported_host", { detail });
  }
  const detail = reason || `${step}: no reason was given`;
  const hint = step === "users" ? "; --userns host runs without a user namespace, with weaker isolation" : "";
  return new Failure(causes[step] ?? "state_unusable", { detail: `${detail}${hint}` });
}

/** Of what is written there, in bytes; a line of a runtime's log may quote all arguments of a command. */
const reasonLimit = 1024 * 1024;

/**
 * Reads from the start, because a program that writes into a full pipe waits. Only the end is kept.
 *
 * @returns the `msg` of the last line of a runtime's JSON log; a line that is none, as it is.
 */
export async function lastWords(reasons: Readable): Promise<string> {
  let kept: Buffer = Buffer.alloc(0);
  for await (const chunk of reasons) kept = Buffer.concat([kept, chunk]).subarray(-reasonLimit);
  const line = kept.toString().trim().split("\n").at(-1) ?? "";
  try {
    const { msg } = JSON.parse(line);
    if (typeof msg === "string") return msg.slice(0, 1000);
  } catch {
    // It is no log of a runtime's.
  }
  return line.slice(0, 1000);
}

const quotedCommand = (reason: string) => /exec: "([^"]*)"/.exec(reason)?.[1] ?? "";
