/** Pieces of Markdown. */

/** A text as a cell: a bar would end it, and a line break the row; what looks like a tag is text. */
export const cell = (text: string): string =>
  text.replace(/\s+/g, " ").trim().replaceAll("|", "\\|").replace(/</g, "&lt;");

/** A text as code in a cell. */
export const code = (text: string): string => (text === "" ? "" : `\`${text.replaceAll("|", "\\|")}\``);

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`.replace(/ {2,}\|/g, " |");
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

export const page = (...parts: readonly string[]): string => `${parts.filter(Boolean).join("\n\n")}\n`;
