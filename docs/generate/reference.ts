/** The pages of docs/reference/, made of the code that they are about. `npm run docs` writes them; a test compares. */
import { commandLine } from "./command-line.ts";
import { environment } from "./environment.ts";
import { errors } from "./errors.ts";
import { files } from "./files.ts";
import { messages } from "./messages.ts";
import { metrics } from "./metrics.ts";

const pages: Record<string, () => string | Promise<string>> = {
  "command-line.md": commandLine,
  "environment.md": environment,
  "errors.md": errors,
  "files.md": files,
  "messages.md": messages,
  "metrics.md": metrics,
};

const note = "_`npm run docs` makes this page from the code. A test fails when the two differ._";

/** By the names of their files. Each begins with its title. */
export async function reference(): Promise<Map<string, string>> {
  const made = Object.entries(pages).map(async ([name, make]): Promise<[string, string]> => {
    const [title, ...rest] = (await make()).split("\n");
    return [name, `${title}\n\n${note}\n${rest.join("\n")}`.trimEnd().concat("\n")];
  });
  return new Map(await Promise.all(made));
}
