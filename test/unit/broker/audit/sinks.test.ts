/** The sink in files keeps what broker/audit/sink.ts promises, in one file and when each write begins a new one. */
import { describe } from "vitest";
import { fileSink } from "../../../../broker/audit/file.ts";
import { rotatedFiles } from "../../../../broker/audit/search-files.ts";
import { filePart } from "../../../../broker/audit/verify.ts";
import { keys, newLog } from "../../../support/audit-log.ts";
import { describeSink } from "../../../support/sinks.ts";

const { findAuditKey: findKey } = keys;

describe.each([
  ["in one file", {}],
  ["in a file for each write", { fileSize: 1 }],
])("%s,", (_, settings) => {
  describeSink({
    async create() {
      const path = newLog();
      return {
        sink: () => fileSink(path, { findKey, ...settings }),
        part: () => ({
          name: path,
          async *lines() {
            const files = [...(await rotatedFiles(path)).map((file) => file.path), path];
            for (const file of files) yield* filePart(file).lines();
          },
        }),
      };
    },
  });
});
