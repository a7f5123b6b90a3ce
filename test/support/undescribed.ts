/** The fields of a JSON Schema that say nothing of themselves, by their paths. */
export function undescribed(schema: object): string[] {
  const silent: string[] = [];
  const visit = (fields: Record<string, unknown>, where: string) => {
    const properties = (fields.properties ?? {}) as Record<string, Record<string, unknown>>;
    for (const [name, field] of Object.entries(properties)) {
      if (!field.description && !("const" in field) && !field.properties) silent.push(`${where}.${name}`);
      visit(field, `${where}.${name}`);
    }
    for (const inner of [fields.items, fields.additionalProperties]) {
      if (typeof inner === "object" && inner !== null) visit(inner as Record<string, unknown>, `${where}.*`);
    }
  };
  visit(schema as Record<string, unknown>, "");
  return silent;
}
