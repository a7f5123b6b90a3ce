/** What a step left behind: searched for values, and made a layer where the run keeps it. */
import { Failure } from "./failure.ts";
import type { Draft, LayerStore } from "./layers/layer-store.ts";
import type { LeakGuard } from "./leak-guard.ts";
import type { LeakAction } from "./plan.ts";

interface Circumstances {
  readonly store: LayerStore;
  /** A folder that goes with the run. */
  readonly scratch: string;
  readonly guard: LeakGuard;
  readonly onLeak: LeakAction;
  /** Whether the changes are to be a layer; otherwise they are only searched. */
  readonly isKept: boolean;
  readonly warn: (line: string) => void;
}

/**
 * @param upper the folder with the changes, which nothing changes any more.
 * @returns the layer, if it may be kept.
 * @throws {Failure} `secret_leaked`, where a leak ends the run.
 */
export async function takeChanges(
  upper: string,
  { store, scratch, guard, onLeak, isKept, warn }: Circumstances,
): Promise<Draft | undefined> {
  const changes = guard.watch(store.changes(upper));
  const draft = isKept ? await store.draft(changes, scratch) : undefined;
  if (!isKept) for await (const { content } of changes) for await (const _ of content);
  const detail = guard.report();
  if (!detail) return draft;
  const leak = new Failure("secret_leaked", { detail });
  if (onLeak === "fail") throw leak;
  warn(leak.toString());
  return onLeak === "warn" ? draft : undefined;
}
