/** Images' names as podman, buildah and docker read them: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`. */

export interface ImageName {
  /** With the registry's address, where it is said. */
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: string | undefined;
}

export function parseImageName(text: string): ImageName {
  const [name = "", digest] = text.split("@", 2) as [string, string?];
  // A colon before the last slash is a port's.
  const [, repository = name, tag] = /^(.*?)(?::([^/:]*))?$/s.exec(name) ?? [];
  return { repository, tag, digest };
}

/** All spellings of a repository whose registry is known: people leave out docker.io, and localhost. */
export function spellingsOf(repository: string): string[] {
  const short = /^(?:docker\.io\/(?:library\/)?|localhost\/)(.+)$/.exec(repository)?.[1];
  return short === undefined ? [repository] : [repository, short];
}

/** A repository by one name, where people have several for it. */
export function fullRepository(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  if (rest.length === 0) return `docker.io/library/${repository}`;
  return /[.:]|^localhost$/.test(first) ? repository : `docker.io/${repository}`;
}
