/**
 * The sources of a running broker: read again from broker.yaml when it changes, and taken as a whole or not at all. A
 * source that has not changed keeps its log-ins and what it remembers. Everything else in broker.yaml takes a restart.
 */
import type { Complaint } from "../../broker/health.ts";
import type { Resolver } from "../../broker/resolve/resolver.ts";
import type { ConfiguredSources, Sources } from "./sources.ts";

export type SourcesEvent = { readonly sources: "taken" | "refused" };

export type LiveSources = ReturnType<typeof createLiveSources>;

/** @param read what the file says now; nothing where something is wrong with it. */
export function createLiveSources(
  sources: Sources,
  resolver: Resolver,
  initial: ConfiguredSources,
  read: () => Promise<ConfiguredSources | undefined>,
  report: (event: SourcesEvent) => void,
) {
  let current = JSON.stringify(initial);
  let refused = false;
  let reading: Promise<void> = Promise.resolve();

  async function readAgain(): Promise<void> {
    const next = await read();
    if (!next) {
      if (!refused) report({ sources: "refused" });
      refused = true;
      return;
    }
    refused = false;
    const text = JSON.stringify(next);
    if (text === current) return;
    current = text;
    resolver.replace(sources.take(next));
    report({ sources: "taken" });
  }

  return {
    reload(): Promise<void> {
      reading = reading.then(readAgain);
      return reading;
    },

    complaints: (): Complaint[] => [
      ...(refused
        ? [
            {
              part: "sources",
              message: "broker.yaml cannot be used: the broker reads from the sources that it had before",
              serving: true,
            },
          ]
        : []),
      ...resolver.failing().map(({ name, scheme }) => ({
        part: `source ${name ?? scheme}`,
        message: "it fails or limits the rate of requests, so the broker sends it none for a while",
        serving: true,
      })),
    ],
  };
}
