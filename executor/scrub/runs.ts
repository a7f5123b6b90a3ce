/** A set of positions as runs `[starts[i], ends[i])` in ascending order. Runs that touch are one. */
export interface Runs {
  readonly starts: number[];
  readonly ends: number[];
  /** The runs are those from here up to `limit`; the arrays never shrink, for growing them again would cost. */
  first: number;
  limit: number;
}

export function newRuns(): Runs {
  return { starts: [], ends: [], first: 0, limit: 0 };
}

/** Adds `[start, end)`, which must not end before the last run begins. Amortized O(1). */
export function addRun(runs: Runs, start: number, end: number): void {
  const { starts, ends, first } = runs;
  let { limit } = runs;
  let from = start;
  let to = end;
  while (limit > first && ends[limit - 1]! >= from) {
    limit--;
    from = Math.min(from, starts[limit]!);
    to = Math.max(to, ends[limit]!);
  }
  starts[limit] = from;
  ends[limit] = to;
  runs.limit = limit + 1;
}

/** Drops the runs that begin at `position` or later. */
export function dropRuns(runs: Runs, position: number): void {
  while (runs.limit > runs.first && runs.starts[runs.limit - 1]! >= position) runs.limit--;
}

/** Forgets the runs before `first`. */
export function shiftRuns(runs: Runs, first: number): void {
  runs.first = first;
  if (first < runs.limit) return;
  runs.first = 0;
  runs.limit = 0;
}
