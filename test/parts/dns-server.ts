/** Answers every question for an IPv4 address with 203.0.113.99. `node dns-server.ts`, port 53. */
import { createSocket } from "node:dgram";

const socket = createSocket("udp4");
socket.on("message", (query, { port, address }) => {
  const question = query.subarray(12);
  const isAddress = question.at(-3) === 1;
  const header = Buffer.from([0x81, 0x80, 0, 1, 0, isAddress ? 1 : 0, 0, 0, 0, 0]);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 99]);
  const parts = [query.subarray(0, 2), header, question, ...(isAddress ? [answer] : [])];
  socket.send(Buffer.concat(parts), port, address);
});
socket.bind(53);
