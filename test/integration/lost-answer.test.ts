/** An executor that does not get its answer asks again by itself, and that costs nothing. */
import { expect, test } from "vitest";
import { ClaimcheckError } from "../../shared/errors.ts";
import { startBroker } from "../support/broker.ts";

/** @param answers what becomes of the broker's answers to redemptions, one after the other; then they arrive. */
async function redeemThrough(answers: readonly (() => Response)[]) {
  const broker = await startBroker({ environment: { API_TOKEN: "guessme" } });
  let asked = 0;
  const { client } = await broker.executor({
    proxy: (forward) => async (url, init) => {
      const answer = await forward(url, init);
      if (!url.endsWith("/v1/redemptions")) return answer;
      const meddle = answers[asked];
      asked += 1;
      return meddle ? meddle() : answer;
    },
  });
  const handles = await client.issue([{ uri: "env://API_TOKEN" }]);
  const redeemed = await client.redeem(handles, { masked: true }).catch((failure) => failure);
  const written = broker.audit.records.filter(({ action }) => action === "redeem");
  return { redeemed, asked, outcomes: written.map(({ outcome }) => outcome) };
}

const lineBreaks = (): Response => {
  throw new TypeError("fetch failed");
};
const refuses = (code: "store_unavailable" | "handle_void") => (): Response => {
  const error = new ClaimcheckError(code);
  return Response.json(error.problem(), { status: error.status });
};

test.each<[string, () => Response]>([
  ["the line broke", lineBreaks],
  ["the store did not answer in time", refuses("store_unavailable")],
])("%s: the values come with the second answer, which is a repeat", async (_, lose) => {
  const { redeemed, outcomes } = await redeemThrough([lose]);
  expect(Buffer.from(redeemed[0].value.expose()).toString()).toBe("guessme");
  expect(outcomes).toEqual(["released", "repeat"]);
});

test("when the second answer is lost too it gives up", async () => {
  const { redeemed, asked } = await redeemThrough([lineBreaks, lineBreaks]);
  expect(redeemed).toMatchObject({ code: "broker_unreachable" });
  expect(asked).toBe(2);
});

test("a refusal is not asked about again", async () => {
  const { redeemed, asked } = await redeemThrough([refuses("handle_void")]);
  expect(redeemed).toMatchObject({ code: "handle_void" });
  expect(asked).toBe(1);
});
