/** `claimcheck run -t`: a terminal in the container, and with `-i` the user's. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { filesContaining, processesContaining, remains, until } from "../parts/host.ts";
import { claimcheck, image, printed, start, startAtTerminal } from "../support/command.ts";

const secret = ["--secret-env", "MY_SECRET=env://API_TOKEN"];
const withToken = { env: { API_TOKEN: "guessme" } };

/** Without a terminal of our own. */
const run = (script: string, settings = withToken) =>
  claimcheck(["run", "-t", ...secret, image, "--", "sh", "-c", script], settings);

/** In the user's terminal: `-i`, or more flags. SCRIPT is the container's. */
const command = `claimcheck run -t ${secret.join(" ")} -i`;
const startIn = (script: string, { flags = "", env = {} } = {}) =>
  startAtTerminal(`${command} ${flags} ${image} -- sh -c "$SCRIPT"`, {
    env: { ...withToken.env, ...env, SCRIPT: script },
  });

type Started = ReturnType<typeof startAtTerminal>;
const type = ({ child }: Started, keys: string) => child.stdin?.write(keys);

/** Until a signal ends it; no process comes or goes meanwhile. */
const wait = "sleep 1000 & while :; do wait; done";

afterEach(() => {
  expect(remains()).toEqual([]);
});

describe("the command's terminal", () => {
  test("is its input, its output and its standard error, which come as one stream", async () => {
    const script = "test -t 0 && test -t 1 && test -t 2 && tty && echo $TERM; echo err >&2; exit 7";
    const finished = await run(script);
    expect(finished).toEqual({ code: 7, stdout: "/dev/pts/0\r\nxterm\r\nerr\r\n", stderr: "" });
  });

  test("is its own, whoever it is, also by other names", async () => {
    const script = "echo a > /dev/stdout; echo b > /dev/tty; echo c > /dev/stderr";
    const finished = await claimcheck(["run", "-t", "-u", "nobody", image, "--", "sh", "-c", script]);
    expect(finished).toEqual({ code: 0, stdout: "a\r\nb\r\nc\r\n", stderr: "" });
  });

  test("can be closed and opened again", async () => {
    const script = "exec 3<&0 </dev/null >/dev/null 2>&1 3<&-; sleep 0.1; seq 20000 > /dev/tty";
    expect((await run(script)).stdout).toMatch(/^1\r\n2\r\n[\s\S]*\r\n20000\r\n$/);
  });

  test("gives all that is printed", async () => {
    const lines = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\r\n`);
    expect((await run("seq 50000")).stdout).toBe(lines.join(""));
  });

  test("gives what is printed last, also after the command's end", async () => {
    // More than one read of a terminal gives, less than a terminal keeps.
    const size = 6 * 1024;
    const script = `trap "head -c ${size} /dev/zero | tr '\\0' x; exit 0" TERM; echo ready; ${wait}`;
    const running = start(["run", "-t", image, "--", "sh", "-c", script]);
    await printed(running, "ready\r\n");
    const supervisor = findFirst("supervisor.pl");
    process.kill(supervisor, "SIGSTOP");
    // Claimcheck's own process has it among its arguments, too.
    const shell = findFirst(`sh\0-c\0trap "head`);
    process.kill(shell, "SIGTERM");
    // It has ended, and nobody has asked how.
    await until(() => readFileSync(`/proc/${shell}/cmdline`).length === 0);
    process.kill(supervisor, "SIGCONT");
    expect((await running.finished).stdout).toBe(`ready\r\n${"x".repeat(size)}`);
  });

  test("is hung up when nobody reads it", async () => {
    const running = start(["run", "-t", image, "yes"]);
    await printed(running, "y");
    running.child.stdout?.destroy();
    // SIGHUP, as on any terminal.
    expect((await running.finished).code).toBe(129);
  });

  test("has no secret typed into it", async () => {
    const finished = await claimcheck(["run", "-t", "--secret-stdin", "env://API_TOKEN", image], withToken);
    expect(finished).toMatchObject({ code: 125, stdout: "" });
    expect(finished.stderr).toMatch(/^claimcheck: .*\[invalid_plan\]\n$/);
  });
});

describe("with -i it is the user's", () => {
  test("but only if there is one", async () => {
    expect(await claimcheck(["run", "-it", image, "true"])).toEqual({
      code: 125,
      stdout: "",
      stderr: "claimcheck: The command line is invalid: the input device is not a TTY [usage]\n",
    });
  });

  test("its size is the user's, and stays so", async () => {
    const script = `trap "stty size; exit 4" WINCH; stty size; ${wait}`;
    const running = startAtTerminal(
      `tty; stty cols 91 rows 33; ${command} ${image} sh -c '${script}'`,
      withToken,
    );
    await printed(running, "33 91\r\n");
    const [name = ""] = running.output.stdout.split("\r\n");
    // One call: two are two sizes.
    execFileSync("stty", ["-F", name, "cols", "70"]);
    expect(await running.finished).toMatchObject({ code: 4, stdout: `${name}\r\n33 91\r\n33 70\r\n` });
  });

  test("what has no line break appears at once, and an answer is typed", async () => {
    const running = startIn('printf "name: "; read -r name; echo "hello $name"');
    await printed(running, "name: ");
    type(running, "Wilma\x7fhelm\r");
    // The terminal echoes, and rubs out.
    expect((await running.finished).stdout).toBe("name: Wilma\b \bhelm\r\nhello Wilmhelm\r\n");
  });

  test("a shell edits its line and keeps its history", async () => {
    const running = startIn("PS1='> ' exec sh -i");
    await printed(running, "> ");
    type(running, "echo $((6*6)) twpo\x1b[D\x7f\r");
    await printed(running, "36 two\r\n");
    type(running, "\x1b[A; exit 8\r");
    const { code, stdout } = await running.finished;
    expect(code).toBe(8);
    expect(stdout.match(/36 two\r\n/g)).toHaveLength(2);
  });

  test("when it is gone, so is the container, whatever the command makes of it", async () => {
    const running = startIn(`trap "" HUP; echo ready; ${wait}`);
    await printed(running, "ready");
    running.child.kill("SIGKILL");
    await until(() => remains().length === 0);
  });

  test("Ctrl-C is the command's", async () => {
    const running = startIn(`trap "echo caught; exit 9" INT; echo ready; ${wait}`);
    await printed(running, "ready");
    type(running, "\x03");
    expect(await running.finished).toMatchObject({ code: 9, stdout: "ready\r\n^Ccaught\r\n" });
  });
});

describe("masking in a terminal", () => {
  test("leaves colours and the rest of the text", async () => {
    const running = startIn(
      'printf "\\033[1;31mred %s\\033[0m and\\t\\033[32mgreen\\033[0m\\n" "$MY_SECRET"',
    );
    const { stdout } = await running.finished;
    expect(stdout).toBe("\x1b[1;31mred ***\x1b[0m and\t\x1b[32mgreen\x1b[0m\r\n");
  });

  test.each([
    ["LF", "line one\nline two\nthe third"],
    ["CRLF", "line one\r\nline two\r\nthe third"],
    ["lines too short to be searched alone", "a-b\nc'd\ne-f"],
  ])(
    "finds a value of several lines (%s), of which the terminal changes the line breaks",
    async (_, value) => {
      const script = `echo "[$MY_SECRET]"; export -p | grep -A 2 MY_SECRET`;
      const finished = await run(script, { env: { API_TOKEN: value } });
      expect(finished.stdout).toBe("[***]\r\nexport MY_SECRET='***'\r\n");
    },
  );

  test("a value that is typed is not echoed", async () => {
    const running = startIn("echo ready; cat");
    await printed(running, "ready");
    type(running, "it is guessme\r\x04");
    expect((await running.finished).stdout).toBe("ready\r\nit is ***\r\nit is ***\r\n");
  });

  test("of a value that is typed slowly, three characters show", async () => {
    const running = startIn("echo ready; cat > /dev/null");
    await printed(running, "ready");
    type(running, "gue");
    await printed(running, "gue");
    type(running, "ssme\r\x04");
    expect((await running.finished).stdout).toBe("ready\r\ngue***\r\n");
  });
});

describe("the user's terminal is as it was before", () => {
  /** Has the process throw where nobody catches it when it is sent SIGPWR. */
  const crash = "--import=data:text/javascript,process.on(`SIGPWR`,()=>{throw(Error())})";

  /** Says which process the command is, that it runs, and then how it ended. */
  const startBetween = (script: string, flags = "") =>
    startAtTerminal(
      `before=$(stty -g)
       sh -c 'echo "pid $$"; exec "$NODE" "$ENTRY" run -it ${flags} ${image} sh -c "$SCRIPT"'; code=$?
       test "$before" = "$(stty -g)" && echo "restored after $code"`,
      { env: { NODE_OPTIONS: crash, SCRIPT: script } },
    );

  const pidOf = ({ output }: Started) => Number(/pid (\d+)/.exec(output.stdout)?.[1]);

  test.each([
    ["has ended", "exit 3", "", 3],
    ["took too long", wait, "--timeout 0.5", 124],
    ["cannot be found", "", "--entrypoint nonesuch", 127],
  ])("when the command %s", async (_, script, flags, code) => {
    const { stdout } = await startBetween(script, flags).finished;
    expect(stdout).toMatch(new RegExp(`\r\nrestored after ${code}\r\n$`));
  });

  test.each<[string, (running: Started) => void, number]>([
    ["claimcheck is told to end", (running) => process.kill(pidOf(running), "SIGTERM"), 6],
    ["claimcheck crashes", (running) => process.kill(pidOf(running), "SIGPWR"), 125],
    ["the supervisor is killed", () => process.kill(findFirst("supervisor.pl"), "SIGKILL"), 125],
    ["the container is killed", () => process.kill(findFirst(wait), "SIGKILL"), 137],
  ])("when %s", async (_, end, code) => {
    const running = startBetween(`trap "exit 6" TERM; echo ready; ${wait}`);
    await printed(running, "ready\r\n");
    end(running);
    expect((await running.finished).stdout).toMatch(new RegExp(`\nrestored after ${code}\r\n$`));
    // The next run sweeps up after a supervisor.
    await claimcheck(["run", image, "true"]);
    await until(() => remains().length === 0);
  });
});

test("neither a value nor the socket that the terminal came by is on this host while it runs", async () => {
  const value = `claimcheck-${randomBytes(16).toString("hex")}`;
  const running = startIn(`trap "exit 5" INT; echo ready; ${wait}`, { env: { API_TOKEN: value } });
  await printed(running, "ready");
  expect(await filesContaining([value])).toEqual([]);
  const bundle = `/proc/${findFirst("supervisor.pl")}/root/bundle`;
  expect(await filesContaining([value], [bundle])).toEqual([]);
  expect(readdirSync(bundle, { recursive: true }).filter((path) => path === "console")).toEqual([]);
  type(running, "\x03");
  expect((await running.finished).code).toBe(5);
});

/** The process with this among its arguments that is the first of a pid namespace, or the command of a container. */
function findFirst(argument: string): number {
  const isFirst = (pid: number) =>
    /^NSpid:\t\d+(\t1|\t\d+\t2)$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  return processesContaining("cmdline", argument).find(isFirst) as number;
}
