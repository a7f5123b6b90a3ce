/** A line to a broker on which somebody listens. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { onTestFinished } from "vitest";

/** Who ends TLS in front of a broker sees every byte of it, so what passes here is what such a proxy has. */
export async function startListener(port: number, target: number): Promise<() => string> {
  let heard = "";
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (bytes) => {
      heard += bytes.toString("latin1");
    });
    client.pipe(upstream).pipe(client);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return () => heard;
}
