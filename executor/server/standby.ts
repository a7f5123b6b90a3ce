/**
 * Supervisors that wait for runs of images that were run before, because to start one takes a third of the time that a
 * run takes. They know nothing of a run but its image.
 */
import { type Supervisor, type SupervisorSettings, startSupervisor } from "../runtime/runc.ts";

/** So many wait. */
const countLimit = 4;
/** For so long, in milliseconds. */
const timeLimit = 10 * 60 * 1000;

export type Standby = ReturnType<typeof createStandby>;

export function createStandby() {
  /** By what they were started with; the one that was wanted last is the last. */
  const waiting = new Map<string, { supervisor: Supervisor; timer: NodeJS.Timeout }>();
  const leaving = new Set<Promise<void>>();
  let closed = false;

  function remove(key: string): Supervisor | undefined {
    const found = waiting.get(key);
    clearTimeout(found?.timer);
    waiting.delete(key);
    return found?.supervisor;
  }

  function dismiss(key: string): void {
    const supervisor = remove(key);
    if (!supervisor) return;
    supervisor.abandon();
    leaving.add(supervisor.gone);
    void supervisor.gone.then(() => leaving.delete(supervisor.gone));
  }

  function replace(key: string, settings: SupervisorSettings): void {
    if (closed || waiting.has(key)) return;
    const supervisor = startSupervisor(settings);
    const timer = setTimeout(() => dismiss(key), timeLimit).unref();
    waiting.set(key, { supervisor, timer });
    void supervisor.gone.then(() => waiting.get(key)?.supervisor === supervisor && remove(key));
    const [oldest = ""] = waiting.keys();
    if (waiting.size > countLimit) dismiss(oldest);
  }

  return {
    /** One that waited, or a new one. When it is gone, another one takes its place. */
    start(settings: SupervisorSettings): Supervisor {
      const key = JSON.stringify(settings);
      const supervisor = remove(key) ?? startSupervisor(settings);
      void supervisor.used.then(() => replace(key, settings));
      return supervisor;
    },

    /** @returns when none waits any more. */
    async close(): Promise<void> {
      closed = true;
      for (const key of [...waiting.keys()]) dismiss(key);
      await Promise.all(leaving);
    },
  };
}
