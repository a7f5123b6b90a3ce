/**
 * What README.md and docs/ show in a terminal is what the terminal shows. `vitest run test/e2e/docs.test.ts -u` writes
 * what it shows now into the pages.
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { pages, project, render } from "../docs/page.ts";
import { runPage } from "../docs/session.ts";
import { withoutGo } from "../support/front-ends.ts";

const withCommands = pages.filter(({ blocks }) => blocks.some(({ kind }) => kind === "command"));

test.for(withCommands.map((page) => [page.path, page] as const))(
  "every transcript in %s is true",
  { timeout: 300_000 },
  async ([path, page], { skip }) => {
    if (path.startsWith("sdk/go/") && withoutGo) skip(withoutGo);
    await expect(render(page, await runPage(page))).toMatchFileSnapshot(join(project, path));
  },
);
