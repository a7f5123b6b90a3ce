/** Where a field stands in a document. */
export type Path = readonly PropertyKey[];

/** `tenants.acme.rules[2].secrets`, as people would say it. */
export function spell(path: Path): string {
  return (
    path
      .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
      .join("")
      .slice(1) || "the file"
  );
}
