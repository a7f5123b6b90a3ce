/** What has the form of a code or of a class: causes are whatever was thrown. */
const word = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** What an operator's log says of a cause: its code or its name, because a message may quote what it was given. */
export function causeWord(cause: unknown): string | undefined {
  const named = cause as { code?: unknown; name?: unknown } | undefined;
  return [named?.code, named?.name].find(
    (each): each is string => typeof each === "string" && word.test(each),
  );
}
