/** Taking turns: at most so many at once, and the others wait in line. */

export type Semaphore = ReturnType<typeof createSemaphore>;

export function createSemaphore(atOnce: number) {
  let free = atOnce;
  const line = new Set<() => void>();

  return {
    /** @returns whether the turn came before the signal; then it has to be released. */
    async acquire(signal?: AbortSignal): Promise<boolean> {
      if (free > 0) {
        free--;
        return true;
      }
      return new Promise((resolve) => {
        const leave = () => {
          line.delete(proceed);
          resolve(false);
        };
        const proceed = () => {
          signal?.removeEventListener("abort", leave);
          resolve(true);
        };
        line.add(proceed);
        signal?.addEventListener("abort", leave);
      });
    },

    release(): void {
      const [next] = line;
      if (!next) {
        free++;
        return;
      }
      line.delete(next);
      next();
    },

    /** Whether nobody has a turn or waits for one. */
    isIdle: () => free === atOnce,
  };
}
