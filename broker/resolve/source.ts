/** An upstream as the configuration names it: whose it is, and how to read from it. */
import type { Provider } from "../providers/provider.ts";

export interface Source {
  /** Part of canonical URIs; missing for the one source that a user's own broker has of a scheme. */
  readonly name?: string;
  readonly scheme: string;
  /** Every tenant's where it is missing. */
  readonly tenants?: readonly string[];
  /** Whether each requester reads with a token of its own, and nobody without one. */
  readonly byRequester?: boolean;
  /**
   * Makes what one tenant reads with: a log-in, a session and connections that no other tenant uses.
   *
   * @param token the requester's, where the source is read with one; without it the provider is good for parsing alone.
   */
  open(tenant: string, token?: string): Provider;
}

/** Whose tokens may go to sources that ask for one. */
export interface Requester {
  readonly principal: string;
  /** By source. */
  readonly tokens: ReadonlyMap<string, string>;
}

/** A source without a name, which every tenant reads from in the same way. */
export const unnamed = (provider: Provider): Source => ({
  scheme: provider.scheme,
  open: () => provider,
});

export const isFor = ({ tenants }: Source, tenant: string): boolean => tenants?.includes(tenant) ?? true;
