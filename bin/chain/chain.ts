/** Makes chains of words, for `claimcheck shell` and `claimcheck core`: which verb, which arguments, in which order. */

import { Secret, secret } from "../../sdk/typescript/secret.ts";
import { Failure } from "../../shared/failure.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import {
  type Answer,
  type Arguments,
  answerOf,
  notVerbs,
  type Parameter,
  type Subject,
  type Verb,
  verbs,
} from "./verbs.ts";

/** A word, and what makes an error that points at it. */
export interface Spoken {
  readonly content: string | Secret;
  /** Whether it can be a flag. */
  readonly plain: boolean;
  readonly wrong: (detail: string) => Failure;
}

export interface Call {
  readonly verb: Verb;
  readonly word: Spoken;
  readonly given: Arguments;
}

/**
 * @param isPublic whether others on the host can read the words.
 * @throws {Failure} `usage` for what is no verb.
 */
export function findVerb(word: Spoken, { isPublic }: { readonly isPublic: boolean }): Verb {
  const { content } = word;
  const verb = verbs.find(({ name }) => name === content);
  if (verb?.name === "set-secret" && isPublic) {
    throw word.wrong(
      "others can read a command line; put the pipeline into a file, or the value behind a URI",
    );
  }
  if (verb) return verb;
  // What is no verb may be a pasted value.
  const why = typeof content === "string" && Object.hasOwn(notVerbs, content) ? notVerbs[content] : undefined;
  throw word.wrong(why ?? "this is not a verb; claimcheck shell --help lists them");
}

/**
 * Runs through calls, one on what the one before gave.
 *
 * @throws {Failure} `usage` where one does not follow the other, or nothing is asked for in the end.
 */
export function answerTo(calls: readonly Call[]): Answer {
  let subject: Subject;
  for (const [index, { verb, word, given }] of calls.entries()) {
    const kind = subject === undefined ? "nothing" : subject instanceof Secret ? "secret" : "container";
    if (verb.on !== kind) throw word.wrong(misplaced[kind](verb));
    const next = attempt(word, () => verb.apply(subject as never, given));
    if (next && "answer" in next) {
      const after = calls[index + 1];
      if (after) throw after.word.wrong("nothing follows a result");
      return next.answer;
    }
    subject = next;
  }
  const answer = answerOf(subject);
  if (answer) return answer;
  throw (calls.at(-1) as Call).word.wrong(
    "the chain asks for no result; end it with stdout, stderr, exit-code, sync or publish",
  );
}

/** What a verb says that comes at the wrong place, by what is there. */
const misplaced = {
  nothing: ({ name }: Verb) => `${name} follows a chain, which begins with container`,
  container: ({ name }: Verb) => `${name} does not follow a container`,
  secret: ({ name }: Verb) => `${name} does not follow a secret: a secret offers only its name`,
};

/** @throws {Failure} `usage` at the word, for what the chain does not take. */
export function attempt<Result>(word: Spoken, act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof Failure || !(cause instanceof Error)) throw cause;
    throw word.wrong(cause.message);
  }
}

/**
 * Takes a verb's arguments from the words that follow it: flags, and where `positional` the others in their order.
 *
 * @returns how many words were taken; all of them where `positional`.
 */
export function takeArguments(
  { word, verb }: { readonly word: Spoken; readonly verb: Verb },
  words: readonly Spoken[],
  { positional }: { readonly positional: boolean },
): { readonly given: Arguments; readonly taken: number } {
  const found = new Map<string, Spoken | readonly Spoken[]>();
  const inOrder = verb.parameters.filter(({ isNamed }) => !isNamed);
  let taken = 0;
  let flagsAreOver = false;

  function takeFlag(flag: Spoken): void {
    const [, name = "", , value] = /^--([a-z-]+)(=(.*))?$/s.exec(flag.content as string) ?? [];
    const parameter = verb.parameters.find((each) => each.name === name);
    if (!parameter) throw flag.wrong(`${verb.name} does not have this flag${flagsOf(verb)}`);
    if (found.has(name)) throw flag.wrong(`--${name} appears twice`);
    if (parameter.kind === "switch") {
      if (value !== undefined) throw flag.wrong(`--${name} takes no value`);
      found.set(name, flag);
      return;
    }
    const given = value === undefined ? words[taken++] : { ...flag, content: value };
    if (!given) throw flag.wrong(`--${name} takes a value`);
    found.set(name, parameter.kind === "words" ? splitList(given) : given);
  }

  while (taken < words.length) {
    const next = words[taken] as Spoken;
    const isFlag = next.plain && typeof next.content === "string" && next.content.startsWith("--");
    if (isFlag && !flagsAreOver) {
      taken += 1;
      if (next.content === "--") flagsAreOver = true;
      else takeFlag(next);
      continue;
    }
    if (!positional) break;
    const parameter = inOrder.find(({ name }) => !found.has(name));
    if (!parameter) throw next.wrong(`${verb.name} takes no more than this`);
    if (parameter.kind === "words") {
      found.set(parameter.name, words.slice(taken));
      taken = words.length;
    } else {
      found.set(parameter.name, next);
      taken += 1;
    }
  }
  const missing = verb.parameters.find(({ name, isOptional }) => !isOptional && !found.has(name));
  if (missing) throw word.wrong(`${verb.name} needs its ${missing.name}`);
  return { given: argumentsOf(found), taken };
}

const flagsOf = ({ parameters }: Verb) =>
  parameters.length === 0 ? "" : `; it has ${parameters.map(({ name }) => `--${name}`).join(", ")}`;

function argumentsOf(found: ReadonlyMap<string, Spoken | readonly Spoken[]>): Arguments {
  const single = (name: string) => found.get(name) as Spoken;
  return {
    has: (name) => found.has(name),
    text: (name) => textOf(single(name)),
    secret(name) {
      const { content } = single(name);
      if (content instanceof Secret) return content;
      const { uri, cacheKey } = takeCacheKey(content);
      return secret(uri, cacheKey === undefined ? {} : { cacheKey });
    },
    words: (name) => ((found.get(name) ?? []) as readonly Spoken[]).map(textOf),
  };
}

function textOf(word: Spoken): string {
  if (word.content instanceof Secret)
    throw word.wrong("a secret cannot be used here: its text is not available");
  return word.content;
}

/** A list with commas between, and quoted as in CSV (RFC 4180, section 2) where one is in an item. */
function splitList(word: Spoken): Spoken[] {
  const text = textOf(word);
  if (text === "") return [];
  const items = text.match(/(?<=^|,)("(?:[^"]|"")*"|[^",][^,]*|)(?=,|$)/g) ?? [];
  if (items.join(",") !== text)
    throw word.wrong("a list has commas between its items, and quotes around all of an item");
  return items.map((item) => ({
    ...word,
    content: item.startsWith('"') ? item.slice(1, -1).replaceAll('""', '"') : item,
  }));
}

/** As help shows them: flags come before the words that a command may be made of. */
export const parametersOf = ({ parameters }: Verb): string =>
  [...parameters]
    .sort((a, b) => Number(a.kind === "words") - Number(b.kind === "words"))
    .map(spell)
    .join(" ");

function spell({ name, kind, isNamed }: Parameter): string {
  if (kind === "switch") return `[--${name}]`;
  if (isNamed) return `[--${name} <${kind}>]`;
  return kind === "words" ? `[--] <${name}>…` : `<${name}>`;
}
