/** All benches, one after the other. Each can be started alone: `node bench/NAME.ts`. */
import { run as coldCommand } from "./cold-command.ts";
import { run as policy } from "./policy.ts";
import { run as scrub } from "./scrub.ts";

await coldCommand();
await scrub();
await policy();
