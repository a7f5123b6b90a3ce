import { expect } from "vitest";
import { ClaimcheckError } from "../../shared/errors.ts";

/** The coded error that an act ends in; anything else that it does fails the test. */
export async function refusalOf(act: () => unknown): Promise<ClaimcheckError> {
  const thrown = await Promise.resolve()
    .then(act)
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  expect(thrown).toBeInstanceOf(ClaimcheckError);
  return thrown as ClaimcheckError;
}
