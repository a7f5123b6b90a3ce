/**
 * The text of `claimcheck shell`: pipelines of verbs, with words quoted as in sh.
 *
 *     script       = pipeline *( ( newline / ";" ) pipeline )
 *     pipeline     = stage *( "|" stage )                       ; newlines may follow the "|"
 *     stage        = 1*word
 *     word         = 1*( plain / "'" … "'" / '"' … '"' / "\" character ) / substitution
 *     substitution = "$(" stage ")"                             ; a secret
 *
 * "#" at the start of a word begins a comment. Nothing of the host is expanded: a "$" outside of single quotes is an
 * error, because whoever writes it means a variable, and only the container has those.
 */
import { Failure } from "../../shared/failure.ts";

/** Counted from 1 on. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

export interface Word {
  readonly place: TextPosition;
  /** What it says, or the stage of a substitution. */
  readonly content: string | Stage;
  /** Whether it was quoted, so that `--` and the like are only text. */
  readonly quoted: boolean;
}

export type Stage = readonly Word[];
export type Pipeline = readonly Stage[];

/** @throws {Failure} `usage`, at the place of what is wrong. */
export const wrongAt = ({ line, column }: TextPosition, detail: string) =>
  new Failure("usage", { detail: `line ${line}, column ${column}: ${detail}` });

/** @throws {Failure} `usage` for a text that is no script. */
export function parseScript(text: string): Pipeline[] {
  const reader = createReader(text);
  const pipelines: Pipeline[] = [];
  for (;;) {
    reader.skipBlank("\n;");
    if (reader.peek() === "") return pipelines;
    pipelines.push(readPipeline(reader));
  }
}

type Reader = ReturnType<typeof createReader>;

function createReader(text: string) {
  let at = 0;
  let line = 1;
  let lineStart = 0;
  const peek = () => text.charAt(at);
  const place = (): TextPosition => ({ line, column: at - lineStart + 1 });
  const next = (): string => {
    const character = text.charAt(at++);
    if (character === "\n") {
      line += 1;
      lineStart = at;
    }
    return character;
  };
  return {
    peek,
    next,
    place,
    /** @param more what is skipped beside spaces and comments. */
    skipBlank(more = ""): void {
      for (;;) {
        // An escaped line break is none.
        if (text.startsWith("\\\n", at)) {
          next();
          next();
        } else if (peek() === "#") {
          while (peek() !== "\n" && peek() !== "") next();
        } else if (peek() !== "" && ` \t\r${more}`.includes(peek())) {
          next();
        } else {
          return;
        }
      }
    },
    startsWith: (prefix: string) => text.startsWith(prefix, at),
  };
}

function readPipeline(reader: Reader): Pipeline {
  const stages: Stage[] = [];
  for (;;) {
    const place = reader.place();
    const stage = readStage(reader);
    if (stage.length === 0) throw wrongAt(place, "a verb is missing");
    stages.push(stage);
    if (reader.peek() === ")") throw wrongAt(reader.place(), "nothing was opened that this closes");
    if (reader.peek() !== "|") return stages;
    reader.next();
    reader.skipBlank("\n");
  }
}

function readStage(reader: Reader): Stage {
  const words: Word[] = [];
  for (;;) {
    reader.skipBlank();
    if (["", "\n", ";", "|", ")"].includes(reader.peek())) return words;
    words.push(reader.startsWith("$(") ? readSubstitution(reader) : readWord(reader));
  }
}

function readSubstitution(reader: Reader): Word {
  const place = reader.place();
  reader.next();
  reader.next();
  const content = readStage(reader);
  if (reader.next() !== ")") throw wrongAt(place, "this is not closed with a )");
  return { place, content, quoted: false };
}

function readWord(reader: Reader): Word {
  const place = reader.place();
  let content = "";
  let quoted = false;
  for (;;) {
    const character = reader.peek();
    if (character === "" || " \t\r\n;|)".includes(character)) return { place, content, quoted };
    if (character === "$") throw expansion(reader);
    if (character === "'" || character === '"') {
      content += readQuoted(reader);
      quoted = true;
    } else if (character === "\\") {
      reader.next();
      const escaped = reader.next();
      if (escaped !== "\n") content += escaped;
    } else {
      content += reader.next();
    }
  }
}

function readQuoted(reader: Reader): string {
  const place = reader.place();
  const quote = reader.next();
  let content = "";
  for (;;) {
    if (reader.peek() === "") throw wrongAt(place, "this quote is not closed");
    if (reader.peek() === "$" && quote === '"') throw expansion(reader);
    const character = reader.next();
    if (character === quote) return content;
    if (character === "\\" && quote === '"' && '"\\$`\n'.includes(reader.peek()) && reader.peek() !== "") {
      const escaped = reader.next();
      if (escaped !== "\n") content += escaped;
    } else {
      content += character;
    }
  }
}

const expansion = (reader: Reader) =>
  wrongAt(reader.place(), "write $ only inside single quotes: the container's shell expands it");
