/** All benches, one after the other. Each can be started alone: `node bench/NAME.ts`. */
import { run as broker } from "./broker.ts";
import { run as cache } from "./cache.ts";
import { run as coldCommand } from "./cold-command.ts";
import { run as flood } from "./flood.ts";
import { run as layers } from "./layers.ts";
import { run as policy } from "./policy.ts";
import { run as providers } from "./providers.ts";
import { run as scrub } from "./scrub.ts";
import { run as throughput } from "./throughput.ts";

await coldCommand();
await cache();
await throughput();
await layers();
await providers();
await scrub();
await broker();
await flood();
await policy();
