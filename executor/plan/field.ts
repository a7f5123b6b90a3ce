/**
 * What there is to know of a field of a plan or of a step beside what it does in a container. A row of step-table.ts and
 * plan-table.ts says all of it, and a row without one of the columns does not compile, so a new field has all of them decided.
 */
import type * as z from "zod/mini";
import type { ReadField } from "./faults.ts";
import type { SecretSource } from "./plan.ts";

export interface Field<Value> {
  /** How a document says it; undefined where only a command line can, or only this process. */
  readonly document: Written<Value> | undefined;
  /** How `claimcheck run` says it; "ordered" where the order of flags counts (bin/run/flags.ts). */
  readonly flag: Flag<Value> | "ordered" | undefined;
  readonly cache: Meaning<Value>;
  /** How much of it there may be (limits.ts): items of a list, or bytes of a text of this kind. */
  readonly bound: BoundOf<NonNullable<Value>>;
  /** What a host's executor lets other people's plans have of it (executor/server/permissions.ts). */
  readonly permission: Permission;
  /** Whether only root can do it; or the values with which only root can. */
  readonly needsRoot: boolean | readonly NonNullable<Value>[];
  /** Whether chains can say it, in every language of sdk/. */
  readonly frontEnds: boolean;
}

/** A list and a text have a bound; nothing else needs one. */
type BoundOf<Value> = Value extends readonly unknown[] ? number : string extends Value ? TextKind : undefined;

export type TextKind = "name" | "path" | "image";

/** A field of which only the table knows the type. */
export type AnyField = Omit<Field<unknown>, "bound"> & { readonly bound: number | TextKind | undefined };

/** What a document is read with. */
export interface Means {
  /** Makes a path of this host of one that a document says. */
  readonly toSource: (path: string) => string;
  /** Reads a part of a member, so that the faults of all parts are found. The whole member is read with it anyway. */
  readonly read: ReadField;
}

export interface Written<
  Value,
  Name extends string = string,
  Schema extends z.core.$ZodType = z.core.$ZodType,
> {
  /** Of the document's member, which can be left out. */
  readonly name: Name;
  /** Made when a document is read: a run of a command line has none, and its start-up is most of what it costs. */
  schema(): Schema;
  /** @throws {Failure} `usage` for what no schema can tell, such as a quantity that is none. */
  read(written: z.infer<Schema>, means: Means): Value;
  /** The other way; what `read` makes the same value of. */
  write(value: NonNullable<Value>): z.infer<Schema>;
}

export interface Flag<Value> {
  /** As commander takes it. Without an argument its value is true, or false where it begins with --no-. */
  readonly flags: string;
  readonly description: string;
  readonly choices?: readonly string[];
  /** What help shows. */
  readonly default?: Value;
  /** @throws {Failure} `usage`. Without it the value is the text. */
  readonly read?: (text: string) => Value;
  /** The same for a flag that can be there several times. */
  readonly collect?: (texts: readonly string[]) => Value;
  /** Whether it is the executor's to choose, where one of a host runs the plan, and no job's. */
  readonly isHosts?: boolean;
}

/** What a field means for the cache of results. */
export type Meaning<Value> =
  /** Another value is another result. */
  | "counts"
  /** The field does not change the result. */
  | "ignored"
  /** This of it can change the result, as JSON. */
  | { readonly counts: (value: Value, cacheIdOf: CacheIdOf) => unknown }
  /** Why there is no result to keep; false where there can be one. */
  | { readonly forbids: (value: Value) => string | false };

/** What stands for a secret's value; the broker tells it. */
export type CacheIdOf = (source: SecretSource) => string;

export type Permission =
  | "free"
  /** At most as much as the configuration's `ceilings` says; that much where a plan says nothing. */
  | "ceiling"
  /** By a rule of its own. */
  | "decided"
  /** Refused to every job; the text says what the job asked for. */
  | { readonly never: string };

/** The fields of a table with this in a column. */
export type FieldsWith<Table, Column extends keyof Field<unknown>, What> = {
  [Name in keyof Table]: Table[Name] extends { readonly [C in Column]: What } ? Name : never;
}[keyof Table];

export const written = <Value, Name extends string, Schema extends z.core.$ZodType>(
  name: Name,
  schema: () => Schema,
  read: (written: z.infer<Schema>, means: Means) => Value,
  write: (value: NonNullable<Value>) => z.infer<Schema>,
): Written<Value, Name, Schema> => ({ name, schema, read, write });

/** For what a document says as a step has it. */
export const asItIs = <Name extends string, Schema extends z.core.$ZodType>(
  name: Name,
  schema: () => Schema,
) =>
  written<z.infer<Schema>, Name, Schema>(
    name,
    schema,
    (value) => value,
    (value) => value as z.infer<Schema>,
  );
