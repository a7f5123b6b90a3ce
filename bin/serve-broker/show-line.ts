/**
 * A line in which a program says why it failed, made safe to show to the user who started it: without values that this
 * user's variables hold, on one line, without what a terminal would obey, and short.
 */
import { createScrubber } from "../../executor/scrub/scrubber.ts";
import { printable } from "../../shared/printable.ts";

type Variables = Readonly<Record<string, string | Uint8Array | null | undefined>>;

/** Shown of a line, in characters. */
const shownLimit = 300;

/** Variables that hold no secret, and whose values are words of ordinary messages: paths, names and languages. */
const harmless =
  /^(PATH|HOME|PWD|OLDPWD|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TERM|TZ|EDITOR|HOSTNAME|TMPDIR|XDG_\w+|CI|_)$/;

/** More of them would take too long to search for; a line beside so much is not shown. */
const valueLimit = 64 * 1024;

/** @returns a function that shows a line; `printed` is what the program gave as the secret before it failed. */
export function lineShower(variables: Variables): (line: string, printed?: Uint8Array) => string {
  return (line, printed = new Uint8Array()) => {
    if (printed.length > valueLimit) return "(not shown: the command has printed too much of a value)";
    // Only now: no run has copies of its values for a failure that does not come.
    const encoder = new TextEncoder();
    const own = Object.entries(variables)
      .filter(([name, value]) => value && !harmless.test(name))
      .map(([, value]) => (typeof value === "string" ? encoder.encode(value) : Uint8Array.from(value ?? [])));
    const values = [...own, Uint8Array.from(printed)].flatMap(linesOf);
    const scrubber = createScrubber(values, { shortValues: "show" });
    const stream = scrubber.stream();
    const masked = Buffer.concat([stream.push(encoder.encode(line)), stream.end()]).toString();
    scrubber.wipe();
    for (const value of values) value.fill(0);
    const text = [...printable(masked)];
    return text.length > shownLimit ? `${text.slice(0, shownLimit).join("")}…` : text.join("");
  };
}

/** A value and, because a message may quote one line of it, its lines. */
function linesOf(value: Uint8Array): Uint8Array[] {
  const lines = Buffer.from(value)
    .toString("latin1")
    .split(/[\r\n]+/)
    .filter((line) => line.trim().length > 3)
    .map((line) => Uint8Array.from(Buffer.from(line, "latin1")));
  return lines.length > 1 ? [value, ...lines] : [value];
}
