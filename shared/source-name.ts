/**
 * The end of a canonical URI that names its source:
 *
 *     canonical = uri ( "?" / "&" ) "source=" name       ; nothing follows it
 *     name      = lower / digit *62( lower / digit / "-" )
 *
 * A broker whose sources are configured adds it to every canonical URI, also to those of schemes that know no
 * parameters, so that the end of such a URI is never what a requester wrote.
 */

/** Names of sources. */
export const sourceName = /^[a-z0-9][a-z0-9-]{0,62}$/;

export interface Sourced {
  /** The URI without its source. */
  readonly text: string;
  /** Missing where a user's own broker reads with the user's own credentials. */
  readonly source?: string;
}

const ending = /[?&]source=([a-z0-9][a-z0-9-]{0,62})$/;

export function splitSource(canonical: string): Sourced {
  const found = ending.exec(canonical);
  return found ? { text: canonical.slice(0, found.index), source: found[1] as string } : { text: canonical };
}

export function withSource(text: string, source: string | undefined): string {
  if (source === undefined) return text;
  return `${text}${text.includes("?") ? "&" : "?"}source=${source}`;
}
