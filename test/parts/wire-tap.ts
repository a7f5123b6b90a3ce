/** Stands between a client and a server on loopback, passes bytes on, and can cut the line at a bad moment. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

export async function startWireTap(port: number) {
  let target = port;
  const sockets = new Set<Socket>();
  let armed: string | undefined;
  let cut = 0;
  let sought: string | undefined;
  let kept: Buffer | undefined;

  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    let doomed = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (bytes) => {
      if (armed !== undefined && bytes.includes(armed)) {
        armed = undefined;
        doomed = true;
      }
      if (sought !== undefined && bytes.includes(sought)) kept = Buffer.from(bytes);
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      // What was asked has been done by now; only the answer is lost.
      if (!doomed) return void client.write(bytes);
      cut += 1;
      client.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  return {
    url: `redis://127.0.0.1:${(server.address() as { port: number }).port}`,
    /** Loses the answer to the next thing sent that has these bytes in it. */
    loseAnswerTo(text: string): void {
      armed = text;
    },
    /** Keeps what was sent last with these bytes in it. */
    keep(text: string): void {
      sought = text;
    },
    /** Sends it once more, on a connection of its own, as if the server read it late. */
    async sendAgain(): Promise<void> {
      const late = connect(port, "127.0.0.1");
      late.write(kept ?? "nothing was kept");
      const [answer] = await once(late, "data");
      late.destroy();
      if (/^-/.test(String(answer))) throw new Error(String(answer));
    },
    /** What connects from now on reaches another port; what is connected stays so. */
    leadTo(other: number): void {
      target = other;
    },
    /** How many answers were lost. */
    get lost(): number {
      return cut;
    },
  };
}
