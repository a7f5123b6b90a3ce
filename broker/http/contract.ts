/** openapi.yaml, as this broker serves it: the file of the source tree, or the one that is published beside the code. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import type { Contract } from "../../shared/wire.ts";

const place = import.meta.url.endsWith(".ts") ? "../../openapi.yaml" : "./openapi.yaml";

let read: Promise<Contract> | undefined;

export function contract(): Promise<Contract> {
  read ??= readFile(new URL(place, import.meta.url), "utf8").then((text) => parse(text) as Contract);
  return read;
}
