/** Long work in steps: all at once where nobody waits, or so that others get their turn between the steps. */
import { setImmediate } from "node:timers/promises";

/** For which time others may wait, in milliseconds. */
const slice = 5;

export function atOnce<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

export async function paced<T>(steps: Generator<void, T>): Promise<T> {
  let start = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - start < slice) continue;
    await setImmediate();
    start = performance.now();
  }
}
