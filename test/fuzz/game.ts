// One run of the scrubber against the oracle, as data: what the fuzz job draws by the million, what the
// properties draw with fast-check, and what is kept as corpus when the two disagree.

import { createScrubber } from "../../executor/scrub/scrubber.ts";
import { createOracle } from "./oracle.ts";

/** Byte strings throughout. */
export type Move =
  | readonly ["push", string]
  | readonly ["flush"]
  | readonly ["end"]
  | readonly ["add", readonly string[]];

export interface Game {
  /** Patterns are compared with the oracle; of values, the parts in `never` must not come out, whatever the chunks. */
  readonly mode: "patterns" | "values";
  readonly secrets: readonly string[];
  readonly moves: readonly Move[];
  readonly never?: readonly string[];
}

const bytes = (text: string) => Buffer.from(text, "latin1");

/** Plays until the two disagree, and says how; undefined if they never do. An end() closes each game. */
export function play(game: Game): string | undefined {
  if (game.mode === "values") return playValues(game);
  const { secrets, moves } = game;
  const scrubber = createScrubber(secrets.map(bytes), { forms: false });
  const stream = scrubber.stream();
  const oracle = createOracle(secrets);
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
      oracle.add(move[1]);
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

/** The same text in the game's chunks, in one and byte by byte. */
function playValues({ secrets, moves, never = [] }: Game): string | undefined {
  const scrubber = createScrubber(secrets.map(bytes), { shortValues: "show" });
  const chunks = moves.flatMap((move) => (move[0] === "push" ? [move[1]] : []));
  const whole = chunks.join("");
  const outputs = [chunks, [whole], [...whole]].map((parts) => {
    const stream = scrubber.stream();
    const out = parts.map((part) => Buffer.from(stream.push(bytes(part))).toString("latin1"));
    return [...out, Buffer.from(stream.end()).toString("latin1")].join("");
  });
  for (const part of never)
    if (outputs[0]!.includes(part))
      return `${JSON.stringify(part)} is left of ${JSON.stringify(whole)}: ${JSON.stringify(outputs[0])}`;
  for (const output of outputs)
    if (output !== outputs[0])
      return `chunks matter for ${JSON.stringify(whole)}: ${JSON.stringify(outputs[0])}, ${JSON.stringify(output)}`;
  return undefined;
}
