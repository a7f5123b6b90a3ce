import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores and real parts: more workers only make each other late.
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: "unit", include: ["test/{unit,integration,fuzz}/**/*.test.ts"] } },
      // One file at a time, because these look at what is left on the whole host.
      { extends: true, test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], fileParallelism: false } },
    ],
  },
});
