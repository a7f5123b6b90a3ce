/** The form of an error code or a class name. A cause can be any value that code has thrown. */
const word = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** What an operator's log says of a cause: its code or its name, because a message may quote what it was given. */
export function causeWord(cause: unknown): string | undefined {
  const named = cause as { code?: unknown; name?: unknown } | undefined;
  return [named?.code, named?.name].find(
    (each): each is string => typeof each === "string" && word.test(each),
  );
}
