/** What requests to managers need. Published, it is a file of its own, which runs without managers do not load. */
export { Agent, Pool } from "undici";
