/** How many bytes of requests' bodies this process holds at once, of all clients together. */
import { ClaimcheckError } from "../../shared/errors.ts";

export type BodyRoom = ReturnType<typeof createBodyRoom>;

export function createBodyRoom(limit: number) {
  let taken = 0;
  return {
    /** For one request. */
    enter() {
      let own = 0;
      return {
        /** What has arrived counts, not what was announced. @throws {ClaimcheckError} `executor_busy`. */
        take(bytes: number): void {
          if (taken + bytes > limit) throw new ClaimcheckError("executor_busy");
          taken += bytes;
          own += bytes;
        },
        /** To be called when nothing of the body is needed any more. */
        leave(): void {
          taken -= own;
          own = 0;
        },
      };
    },
  };
}
