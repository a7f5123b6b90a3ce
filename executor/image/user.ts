/** Who a container's first process is: Docker's `user[:group]`, by name or number, as the image knows them. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from "node:fs";
import { Failure } from "../../shared/failure.ts";

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

const sizeLimit = 1024 * 1024;
const isNumber = (text: string) => /^\d{1,10}$/.test(text);

/**
 * @param user Docker's form; empty means root.
 * @param image the folder with the image's files, which may be hostile: no link in it is followed.
 * @throws {Failure} `invalid_user`.
 */
export function findUser(user: string, image: string): User {
  const [wanted = "", wantedGroup, ...rest] = user.split(":");
  if (rest.length > 0) throw new Failure("invalid_user", { detail: user });
  const accounts = readTable(image, "passwd");
  const name = wanted || "0";
  const account = accounts.find(([login, , uid]) => (isNumber(name) ? uid === name : login === name));
  if (!account && !isNumber(name)) throw new Failure("invalid_user", { detail: user });

  const groups = readTable(image, "group");
  const group =
    wantedGroup && groups.find(([title, , gid]) => (isNumber(wantedGroup) ? gid : title) === wantedGroup);
  if (wantedGroup && !group && !isNumber(wantedGroup)) throw new Failure("invalid_user", { detail: user });

  const memberships = groups.filter(
    ([, , , members = ""]) => account && members.split(",").includes(account[0] ?? ""),
  );
  return {
    uid: Number(account?.[2] ?? name),
    gid: Number(wantedGroup ? ((group || undefined)?.[2] ?? wantedGroup) : (account?.[3] ?? 0)),
    additionalGids: wantedGroup ? [] : memberships.map(([, , gid]) => Number(gid)),
    home: account?.[5] || "/",
  };
}

/** The rows of /etc/passwd or /etc/group; none where there is no plain file of a sane size. */
function readTable(image: string, name: "passwd" | "group"): string[][] {
  try {
    if (!lstatSync(`${image}/etc`).isDirectory()) return [];
    const file = openSync(
      `${image}/etc/${name}`,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    try {
      const stat = fstatSync(file);
      if (!stat.isFile() || stat.size > sizeLimit) return [];
      return readFileSync(file, "utf8")
        .split("\n")
        .map((line) => line.split(":"));
    } finally {
      closeSync(file);
    }
  } catch {
    return [];
  }
}
