/** The pinned keys of a broker, as an executor that lives long keeps them. */
import { expect, test, vi } from "vitest";
import { createBrokerCall } from "../../../../executor/broker-client/call.ts";
import { createBrokerKeys } from "../../../../executor/broker-client/keys.ts";
import { brokerUrl, startBroker } from "../../../support/broker.ts";

async function setUp() {
  const broker = await startBroker();
  const state = { asked: 0, down: false };
  const call = createBrokerCall({
    url: brokerUrl,
    fetch: (url, init) => {
      state.asked += 1;
      if (state.down) throw new TypeError("fetch failed");
      return broker.fetch(url, init);
    },
    signal: new AbortController().signal,
  });
  const thumbprints = broker.keys.jwks.keys.map(({ kid }) => kid);
  return { state, call, thumbprints };
}

test("are asked for once while they are young, and again when they are not", async () => {
  const { state, call, thumbprints } = await setUp();
  const keys = createBrokerKeys(call, thumbprints, 1000);
  await Promise.all([keys.findKeys(), keys.wrappingKey(), keys.findKeys()]);
  expect(state.asked).toBe(1);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1000 });
  await keys.findKeys();
  vi.useRealTimers();
  expect(state.asked).toBe(2);
});

test("are asked for again after they could not be had", async () => {
  const { state, call, thumbprints } = await setUp();
  const keys = createBrokerKeys(call, thumbprints);
  state.down = true;
  await expect(keys.findKeys()).rejects.toMatchObject({ code: "broker_unreachable" });
  state.down = false;
  await keys.findKeys();
});

test("are believed only as far as they are pinned, each for what it is for", async () => {
  const { call, thumbprints } = await setUp();
  await expect(createBrokerKeys(call, []).findKeys()).rejects.toMatchObject({ code: "broker_untrusted" });
  const [signing = ""] = thumbprints;
  const keys = createBrokerKeys(call, [signing]);
  await keys.findKeys();
  await expect(keys.wrappingKey()).rejects.toMatchObject({ code: "broker_untrusted" });
});
