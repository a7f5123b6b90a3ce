/** What a run knows and does not show: the values that it has redeemed so far, and its tokens and handles. */
import { Failure } from "../../shared/failure.ts";
import type { Secrets } from "../broker-client/secrets.ts";
import type { Plan } from "../plan/plan.ts";
import type { Scrubber } from "../scrub/scrubber.ts";
import { buildScrubber, unmasked } from "./forward.ts";

/** The values that a run knows, and what people call them. */
export interface Known {
  readonly scrubber: Scrubber;
  readonly names: readonly string[];
}

export type Masking = ReturnType<typeof createMasking>;

export function createMasking({ masked, shortSecrets }: Pick<Plan, "masked" | "shortSecrets">) {
  let known: Known | undefined;

  /** From here on nothing of what was redeemed is shown. */
  function learn(secrets: Secrets): Known {
    const values = secrets.known();
    const scrubber = buildScrubber(values, secrets.credentials(), masked ? shortSecrets : "show");
    known?.scrubber.wipe();
    known = { scrubber, names: values.map(({ name }) => name) };
    return known;
  }

  return {
    learn,

    /** What was learned last, or is now. */
    known: (secrets: Secrets): Known => known ?? learn(secrets),

    /** For one of a command's streams, with what was learned before. @throws {Failure} where that is nothing. */
    stream() {
      if (!masked) return unmasked;
      if (!known) throw new Failure("internal");
      return known.scrubber.stream();
    },

    /** A runtime's words, a step's name: they may quote what they were given. */
    scrubbed(text: string): string {
      if (!known) return text;
      const stream = known.scrubber.stream();
      return Buffer.concat([stream.push(Buffer.from(text)), stream.end()]).toString();
    },

    wipe: (): void => known?.scrubber.wipe(),
  };
}
