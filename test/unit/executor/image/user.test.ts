import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findUser } from "../../../../executor/image/user.ts";

const passwd = [
  "root:x:0:0:root:/root:/bin/sh",
  "app:x:1000:1001:App:/home/app:/bin/sh",
  "homeless:x:1002:1002:::",
  "12345:x:1003:1003::/home/digits:",
  "",
].join("\n");
const group = ["root:x:0:", "app:x:1001:", "docker:x:999:app,other", "audio:x:29:other,app", ""].join("\n");

let scratch: string;
let image: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "claimcheck-user-"));
  image = join(scratch, "image");
  mkdirSync(image);
});
afterEach(() => {
  rmSync(scratch, { recursive: true });
});

const invalid = (detail: string) => expect.objectContaining({ code: "invalid_user", detail });

describe("a user of an image", () => {
  const root = { uid: 0, gid: 0, additionalGids: [], home: "/root" };
  const app = { uid: 1000, gid: 1001, additionalGids: [999, 29], home: "/home/app" };

  beforeEach(() => {
    mkdirSync(join(image, "etc"));
    writeFileSync(join(image, "etc/passwd"), passwd);
    writeFileSync(join(image, "etc/group"), group);
  });

  test.each([
    ["", root],
    ["root", root],
    ["0", root],
    ["app", app],
    ["1000", app],
    ["app:docker", { ...app, gid: 999, additionalGids: [] }],
    ["app:29", { ...app, gid: 29, additionalGids: [] }],
    ["app:4711", { ...app, gid: 4711, additionalGids: [] }],
    [":docker", { ...root, gid: 999 }],
    ["4711", { uid: 4711, gid: 0, additionalGids: [], home: "/" }],
    ["4711:4712", { uid: 4711, gid: 4712, additionalGids: [], home: "/" }],
    ["homeless", { uid: 1002, gid: 1002, additionalGids: [], home: "/" }],
    ["12345", { uid: 12345, gid: 0, additionalGids: [], home: "/" }],
  ])("%j is %j", (name, user) => expect(findUser(name, image)).toEqual(user));

  test.each(["nobody", "app:nogroup", "app:docker:x", "-1", "0x0", "1e3"])("%s is none", (name) => {
    expect(() => findUser(name, image)).toThrow(invalid(name));
  });
});

describe("an image without accounts", () => {
  test("has users by number", () => {
    expect(findUser("", image)).toEqual({ uid: 0, gid: 0, additionalGids: [], home: "/" });
    expect(findUser("1000:1001", image)).toMatchObject({ uid: 1000, gid: 1001 });
  });

  test("has none by name", () => expect(() => findUser("app", image)).toThrow(invalid("app")));
});

describe("a hostile image cannot make the host's files its accounts", () => {
  let host: string;

  beforeEach(() => {
    host = join(scratch, "host");
    mkdirSync(host);
    writeFileSync(join(host, "passwd"), "app:x:4242:4242::/stolen:\n");
    writeFileSync(join(host, "group"), "docker:x:4242:app\n");
  });

  const inEtc = (lay: (path: string) => void) => () => {
    mkdirSync(join(image, "etc"));
    lay(join(image, "etc/passwd"));
  };
  const traps: Record<string, () => void> = {
    "/etc is a symlink": () => symlinkSync(host, join(image, "etc")),
    "/etc is a file": () => writeFileSync(join(image, "etc"), passwd),
    "/etc/passwd is a symlink": inEtc((path) => symlinkSync(join(host, "passwd"), path)),
    "/etc/passwd is a folder": inEtc((path) => mkdirSync(path)),
    "/etc/passwd is a FIFO that nobody writes to": inEtc((path) => execFileSync("mkfifo", [path])),
    "/etc/passwd is larger than accounts are": inEtc((path) =>
      writeFileSync(path, passwd + "#".repeat(1024 * 1024)),
    ),
  };

  test.each(Object.entries(traps))("when %s there are none", (_, lay) => {
    lay();
    expect(() => findUser("app", image)).toThrow(invalid("app"));
    expect(findUser("1000", image)).toMatchObject({ uid: 1000, gid: 0, home: "/" });
  });

  test("when /etc/group is a symlink nobody is in its groups", () => {
    mkdirSync(join(image, "etc"));
    writeFileSync(join(image, "etc/passwd"), passwd);
    symlinkSync(join(host, "group"), join(image, "etc/group"));
    expect(findUser("app", image)).toMatchObject({ additionalGids: [] });
    expect(() => findUser("app:docker", image)).toThrow(invalid("app:docker"));
  });
});
