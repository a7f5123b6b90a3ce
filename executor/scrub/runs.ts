/** A set of positions as runs, in ascending order. Runs that touch are one. */
export interface Runs {
  /** Adds `[start, end)`. Ends must not descend from call to call. Amortized O(1). */
  add(start: number, end: number): void;
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
