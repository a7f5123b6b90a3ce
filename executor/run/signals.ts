/** How a run ends early: by a signal, by its client, or at a step's time limit. */
import type { Supervisor } from "../supervisor/supervisor.ts";

const SIGKILL = 9;

/** For a command that was killed to be gone, and for its output to be read, in milliseconds. */
const lastWords = 5_000;

/** What the run's supervisor is doing: nothing yet or no more, making a container, or running its command. */
type Phase = "between" | "ordered" | "running";

export type Signals = ReturnType<typeof createSignals>;

export function createSignals() {
  const stop = new AbortController();
  const cut = new AbortController();
  let supervisor: Supervisor | undefined;
  let phase: Phase = "between";
  let received: readonly number[] = [];
  let interruption: number | undefined;

  function end(): void {
    stop.abort();
    supervisor?.abandon();
    cut.abort();
  }

  return {
    /** Ends everything that the run waits for beside its supervisor. */
    stopped: stop.signal,

    /** From here on the run does not wait for the reader of its output. */
    cut: cut.signal,

    /** The same for a run that is over. */
    stop: (): void => stop.abort(),

    /** @param started the supervisor that all of this is about. */
    attach(started: Supervisor): void {
      supervisor = started;
    },

    enter(next: Phase): void {
      phase = next;
    },

    /** The first signal that came. */
    first: (): number | undefined => received[0],

    /** By which signal the run was ended, and not its command. */
    interruption: (): number | undefined => interruption,

    /** Ends the run at any point. */
    cancel(): void {
      interruption = SIGKILL;
      end();
    },

    /**
     * Passes a signal on to the command; the second one kills. Where none is running, the first one ends the run. A
     * further one waits for nobody.
     */
    signal(number: number): void {
      received = [...received, number];
      const isRunning = phase === "running";
      if (received.length >= (isRunning ? 3 : 2)) {
        interruption ??= number;
        supervisor?.destroy();
        cut.abort();
      } else if (isRunning) {
        supervisor?.signal(received.length === 1 ? number : SIGKILL);
      } else {
        interruption = number;
        end();
      }
    },

    /** The time of a step is over. @returns what takes back that its reader is not waited for any more. */
    expire(): () => void {
      if (phase === "running") supervisor?.signal(SIGKILL);
      // It takes its cgroups and its folder along, unless it hangs itself.
      else if (phase === "ordered") supervisor?.abandon();
      const timer = setTimeout(() => {
        if (phase !== "between") supervisor?.destroy();
        cut.abort();
      }, lastWords);
      return () => clearTimeout(timer);
    },
  };
}
