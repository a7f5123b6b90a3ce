/** A set of positions as runs, in ascending order. Runs that touch are one. */
export interface Runs {
  /** Adds `[start, end)`, which must not end before the last run begins. Amortized O(1). */
  add(start: number, end: number): void;
  /** Drops the runs that begin at `position` or later. */
  dropFrom(position: number): void;
  readonly empty: boolean;
  /** The first run. */
  start(): number;
  end(): number;
  /** Forgets the first run. */
  shift(): void;
}

export function createRuns(): Runs {
  let starts: number[] = [];
  let ends: number[] = [];
  let first = 0;
  return {
    get empty() {
      return first === starts.length;
    },
    add(start, end) {
      let from = start;
      let to = end;
      while (starts.length > first && ends.at(-1)! >= from) {
        from = Math.min(from, starts.pop()!);
        to = Math.max(to, ends.pop()!);
      }
      starts.push(from);
      ends.push(to);
    },
    dropFrom(position) {
      while (starts.length > first && starts.at(-1)! >= position) {
        starts.pop();
        ends.pop();
      }
    },
    start: () => starts[first]!,
    end: () => ends[first]!,
    shift() {
      first++;
      if (first === starts.length) {
        starts.length = ends.length = first = 0;
      } else if (first >= 1024 && 2 * first >= starts.length) {
        starts = starts.slice(first);
        ends = ends.slice(first);
        first = 0;
      }
    },
  };
}
