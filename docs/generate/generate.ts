/** `npm run docs`: writes docs/reference/. */
import { writeFileSync } from "node:fs";
import { reference } from "./reference.ts";

for (const [name, text] of await reference()) {
  writeFileSync(new URL(`../reference/${name}`, import.meta.url), text);
}
