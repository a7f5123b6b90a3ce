/** Faults of a plan: each with its place in the document. A run throws the first one; `plan check` collects all of them. */
import { Failure } from "../../shared/failure.ts";
import { type Path, spell } from "../../shared/field-path.ts";

/** Reads the field at a place of the document; a collector reports what this throws, and goes on with `otherwise`. */
export type ReadField = <T>(at: Path, read: () => T, otherwise: T) => T;

export const readOrThrow: ReadField = (_, read) => read();

/** @param whose says in words what `at` says by position, for those who have no document. */
export type Report = (at: Path, detail: string, whose?: string) => void;

/** @throws {Failure} `invalid_plan`. */
export const throwFault: Report = (_, detail, whose) => {
  throw new Failure("invalid_plan", { detail: whose === undefined ? detail : `${whose}: ${detail}` });
};

export interface PlanFault {
  readonly at: Path;
  readonly message: string;
}

/** Of a fault's text, in characters: the name of a field may be long. */
const messageLimit = 1000;

export type FaultCollector = ReturnType<typeof collectFaults>;

export function collectFaults() {
  const faults: PlanFault[] = [];
  const report: Report = (at, detail) =>
    void faults.push({ at, message: `${spell(at)}: ${detail}`.slice(0, messageLimit) });
  const readIn =
    (place: Path): ReadField =>
    (at, read, otherwise) => {
      try {
        return read();
      } catch (thrown) {
        const { detail } = thrown as { detail?: unknown };
        if (typeof detail !== "string") throw thrown;
        // Some errors begin with the field's name already.
        const field = `${String(at.at(-1))}: `;
        report([...place, ...at], detail.startsWith(field) ? detail.slice(field.length) : detail);
        return otherwise;
      }
    };
  return { faults, report, readIn };
}
