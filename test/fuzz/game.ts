// One run of the scrubber against the oracle, as data: what the fuzz job draws by the million, what the
// properties draw with fast-check, and what is kept as corpus when the two disagree.

import { spellings } from "../../executor/scrub/forms.ts";
import { trimSpace } from "../../executor/scrub/lines.ts";
import { createScrubber } from "../../executor/scrub/scrubber.ts";
import { createOracle } from "../unit/scrub/oracle.ts";

/** Byte strings throughout. */
export type Move =
  | readonly ["push", string]
  | readonly ["flush"]
  | readonly ["end"]
  | readonly ["add", readonly string[]];

export interface Game {
  /** As in cases.json. */
  readonly mode: "patterns" | "values";
  readonly secrets: readonly string[];
  readonly moves: readonly Move[];
}

const bytes = (text: string) => Buffer.from(text, "latin1");

/** Plays until the two disagree, and says how; undefined if they never do. An end() closes each game. */
export function play({ mode, secrets, moves }: Game): string | undefined {
  const forms = mode === "values";
  const patterns = (values: readonly string[]) =>
    forms
      ? values
          .map((value) => trimSpace(bytes(value)))
          .filter((value) => value.length > 0)
          .flatMap((value) => spellings(value).map((spelling) => Buffer.from(spelling).toString("latin1")))
      : values;
  const scrubber = createScrubber(secrets.map(bytes), { forms });
  const stream = scrubber.stream();
  const oracle = createOracle(patterns(secrets), forms);
  let held = false;
  for (const [i, move] of [...moves, ["end"] as const].entries()) {
    let got = "";
    let wanted = "";
    if (move[0] === "push") {
      const chunk = bytes(move[1]);
      const out = stream.push(chunk);
      got = Buffer.from(out).toString("latin1");
      wanted = oracle.push(move[1]);
      // A secret made of stars can be hidden in a chunk that comes out the same.
      const clean = wanted === move[1] && !wanted.includes("*") && chunk.length > 0;
      if (clean && !held && oracle.held() === 0 && out !== chunk)
        return `move ${i}: a clean chunk was copied`;
      held = oracle.held() > 0;
    } else if (move[0] === "add") {
      scrubber.add(move[1].map(bytes));
      oracle.add(patterns(move[1]));
    } else {
      got = Buffer.from(stream[move[0]]()).toString("latin1");
      wanted = oracle[move[0]]();
      if (move[0] === "end") held = false;
    }
    if (got !== wanted)
      return `move ${i}, ${move[0]}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`;
  }
  return undefined;
}
