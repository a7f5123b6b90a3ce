import { createHash } from "node:crypto";

/** As OCI names bytes (image-spec, descriptor.md). */
export const digestOf = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
