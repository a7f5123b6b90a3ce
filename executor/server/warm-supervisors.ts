/**
 * Supervisors that wait for runs of images that were run before, because to start one takes a third of the time that a
 * run takes. They know nothing of a run but its image.
 */
import { identityOf } from "../layers/folder-identity.ts";
import { type Supervisor, type SupervisorSettings, startSupervisor } from "../supervisor/supervisor.ts";

/** So many wait for an image: two runs in a row do not wait for them. */
const sameLimit = 2;
/** So many wait in all. */
const countLimit = 6;
/** For so long, in milliseconds. */
const timeLimit = 10 * 60 * 1000;

interface Waiting {
  /** What it was started with. */
  readonly key: string;
  readonly layers: readonly string[];
  readonly supervisor: Supervisor;
  readonly timer: NodeJS.Timeout;
}

export type WarmSupervisors = ReturnType<typeof createWarmSupervisors>;

export function createWarmSupervisors() {
  /** The image that was wanted last is the last. */
  let waiting: readonly Waiting[] = [];
  const leaving = new Set<Promise<void>>();
  let closed = false;

  const same = (key: string) => waiting.filter((each) => each.key === key);

  function remove(one: Waiting): void {
    clearTimeout(one.timer);
    waiting = waiting.filter((each) => each !== one);
  }

  function dismiss(one: Waiting): void {
    remove(one);
    const { gone, abandon } = one.supervisor;
    abandon();
    leaving.add(gone);
    void gone.then(() => leaving.delete(gone));
  }

  function add(key: string, settings: SupervisorSettings): void {
    const supervisor = startSupervisor(settings);
    const timer = setTimeout(() => dismiss(one), timeLimit).unref();
    const one: Waiting = { key, layers: settings.layers, supervisor, timer };
    waiting = [...waiting, one];
    void supervisor.gone.then(() => remove(one));
  }

  /** Only what a run has used is started again: what cannot be started is not started for ever. */
  function replace(key: string, settings: SupervisorSettings): void {
    while (!closed && same(key).length < sameLimit) add(key, settings);
    for (const one of waiting.slice(0, -countLimit)) dismiss(one);
  }

  return {
    /** One that waited, or a new one. When it is gone, others take its place. */
    start(settings: SupervisorSettings): Supervisor {
      // An image that was removed and pulled again has other folders of the same names.
      const key = JSON.stringify([settings, identityOf(settings.layers)]);
      const one = same(key).find(({ supervisor }) => supervisor.isAlive());
      if (one) remove(one);
      const supervisor = one?.supervisor ?? startSupervisor(settings);
      // One that cannot be started is the next run's to report.
      supervisor.gone.then(() => replace(key, settings)).catch(() => {});
      return supervisor;
    },

    /** @returns when none waits any more that uses this layer. */
    async release(layer: string): Promise<void> {
      const those = waiting.filter(({ layers }) => layers.includes(layer));
      for (const one of those) dismiss(one);
      await Promise.all(those.map(({ supervisor }) => supervisor.gone));
    },

    /** @returns when none waits any more. */
    async close(): Promise<void> {
      closed = true;
      for (const one of waiting) dismiss(one);
      await Promise.all(leaving);
    },
  };
}
