/** The time that a step has, from the order for its container until what it left has been looked at. */
import { Failure } from "../../shared/failure.ts";

export type TimeLimit = ReturnType<typeof startTimeLimit>;

/**
 * @param seconds none for as long as it takes.
 * @param onOver called when they are over.
 */
export function startTimeLimit(seconds: number | undefined, onOver: () => void) {
  const end = seconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
  let expired = false;
  const expire = () => {
    expired = true;
    onOver();
  };
  const timer = seconds === undefined ? undefined : setTimeout(expire, seconds * 1000);
  // Either may be the first to know: a timer waits for its turn, and is a little early at times.
  const isOver = () => expired || performance.now() >= end;
  return {
    isOver,
    /** @throws {Failure} `timed_out`. */
    check(): void {
      if (isOver()) throw new Failure("timed_out", { detail: `${seconds} s` });
    },
    /** Nothing is called any more. */
    stop: (): void => clearTimeout(timer),
  };
}
