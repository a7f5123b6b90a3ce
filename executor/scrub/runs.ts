/** A set of positions as runs, in ascending order. Runs that touch are one. */
export interface Runs {
  /** Adds `[start, end)`, which must not end before the last run begins. Amortized O(1). */
  add(start: number, end: number): void;
  /** Drops the runs that begin at `position` or later. */
  dropFrom(position: number): void;
  readonly count: number;
  /** The first run. */
  start(): number;
  end(): number;
  /** Forgets the first run. */
  shift(): void;
}

export function createRuns(): Runs {
  // The runs are those from `first` up to `limit`. The arrays never shrink: to make them longer costs more.
  const starts: number[] = [];
  const ends: number[] = [];
  let first = 0;
  let limit = 0;
  return {
    get count() {
      return limit - first;
    },
    add(start, end) {
      let from = start;
      let to = end;
      while (limit > first && ends[limit - 1]! >= from) {
        limit--;
        if (starts[limit]! < from) from = starts[limit]!;
        if (ends[limit]! > to) to = ends[limit]!;
      }
      if (limit === first) limit = first = 0;
      starts[limit] = from;
      ends[limit++] = to;
    },
    dropFrom(position) {
      while (limit > first && starts[limit - 1]! >= position) limit--;
    },
    start: () => starts[first]!,
    end: () => ends[first]!,
    shift() {
      first++;
    },
  };
}
