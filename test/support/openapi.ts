/** openapi.yaml, as far as the tests read it. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface Example {
  readonly value: Json;
}

export interface Content {
  readonly schema: { readonly $ref: string };
  readonly examples: Readonly<Record<string, Example>>;
}

export interface Answer {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content: Readonly<Record<string, Content>>;
}

export interface Operation {
  readonly tags: readonly string[];
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly { readonly name: string; readonly example: Json }[];
  readonly requestBody?: Answer;
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Contract {
  /** What no operation answers, by status. */
  readonly "x-unrouted": Readonly<Record<string, Answer>>;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Json>>;
    readonly responses: Readonly<Record<string, Answer>>;
    readonly examples: Readonly<Record<string, Example>>;
  };
}

export const text = readFileSync(new URL("../../openapi.yaml", import.meta.url), "utf8");

const document: Json = parse(text);

/** A part of the document with every `$ref` replaced by what it refers to. */
export function resolve(part: Json): Json {
  if (Array.isArray(part)) return part.map(resolve);
  if (typeof part !== "object" || part === null) return part;
  if (typeof part.$ref === "string") return resolve(find(part.$ref));
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, resolve(value)]));
}

function find(reference: string): Json {
  const names = reference.replace(/^#\//, "").split("/");
  const found = names.reduce<Json | undefined>(
    (part, name) => (part as { [name: string]: Json } | undefined)?.[name],
    document,
  );
  if (found === undefined) throw new Error(`openapi.yaml refers to ${reference}, which is not there`);
  return found;
}

export const contract = document as unknown as Contract;

/** Every operation, under the name that `app.routes` has for it. */
const all = new Map(
  Object.entries(contract.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]) =>
        [`${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`, withAnswers(operation)] as const,
    ),
  ),
);

const ofExecutor = ({ tags }: Operation) => tags.includes("executor");

/** The broker's. */
export const operations = new Map([...all].filter(([, operation]) => !ofExecutor(operation)));

/** Those that only an executor has. */
export const executorOperations = new Map([...all].filter(([, operation]) => ofExecutor(operation)));

/** An operation with the answers of its own: those that it shares with all others are the server's, below any route. */
function withAnswers(operation: Operation): Operation {
  const responses = Object.entries(operation.responses).filter(([, answer]) => !("$ref" in answer));
  return { ...operation, responses: Object.fromEntries(responses) };
}

/** The operation that answers a request, if any does. */
export function operationFor(method: string, path: string): Operation | undefined {
  const exact = operations.get(`${method} ${path}`);
  if (exact) return exact;
  for (const [name, operation] of operations) {
    if (new RegExp(`^${name.replace(/:\w+/g, "[^/]+")}$`).test(`${method} ${path}`)) return operation;
  }
  return undefined;
}

/** The examples of a body, by name. */
export function examplesOf(answer: Answer): Record<string, Json> {
  const contents = Object.values(answer.content).flatMap(({ examples }) => Object.entries(examples));
  return Object.fromEntries(
    contents.map(([name, example]) => [
      name,
      (resolve(example as unknown as Json) as unknown as Example).value,
    ]),
  );
}

/** What an answer is that the document does not know, if it is one: its status, or the code of its error. */
export function findUndocumented(
  method: string,
  path: string,
  { status, body }: { status: number; body: string },
): string | undefined {
  // RFC 9110: as GET, but for the body.
  const withoutBody = method === "HEAD";
  const operation = operationFor(withoutBody ? "GET" : method, path);
  const answer = (operation ? operation.responses : contract["x-unrouted"])[status];
  const code = status < 400 || withoutBody ? undefined : JSON.parse(body).code;
  const known = answer && (code === undefined || code in examplesOf(answer));
  return known ? undefined : `openapi.yaml has no ${status} ${code ?? ""}`;
}
