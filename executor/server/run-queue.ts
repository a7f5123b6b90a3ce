/** How many runs there are at once, and how many may wait for one of them to end: in the order in which they came. */
import { ClaimcheckError } from "../../shared/errors.ts";

export type RunQueue = ReturnType<typeof createRunQueue>;

export function createRunQueue(limit: number, waitingLimit: number) {
  let taken = 0;
  const waiting = new Set<() => void>();

  function leave(enter: () => void, entered: boolean): void {
    if (!entered) {
      waiting.delete(enter);
      return;
    }
    taken -= 1;
    const [next] = waiting;
    if (!next) return;
    waiting.delete(next);
    next();
  }

  return {
    /** @throws {ClaimcheckError} `executor_busy` where as many are waiting as may. */
    ask() {
      let entered = false;
      let enter = (): void => {};
      const free = new Promise<void>((resolve) => {
        enter = () => {
          entered = true;
          taken += 1;
          resolve();
        };
      });
      if (taken < limit) enter();
      else if (waiting.size < waitingLimit) waiting.add(enter);
      else throw new ClaimcheckError("executor_busy");
      let left = false;
      return {
        isFree: entered,
        /** When it is this one's turn. */
        free,
        /** To be called in the end, also by one that has given up waiting. */
        leave(): void {
          if (!left) leave(enter, entered);
          left = true;
        },
      };
    },
  };
}
