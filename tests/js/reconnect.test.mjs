import assert from "node:assert/strict";
import { test } from "node:test";
import { afterClose } from "../../agent/static/agent/client/connection/reconnect.js";

const highest = { tries: 0, random: () => 1 };

for (const [code, reason] of [
  [1000, "closed"],
  [4400, "broken"],
  [4401, "signed_out"],
  [4403, "forbidden"],
  [4404, "gone"],
]) {
  test(`${code} is final: ${reason}`, () => {
    assert.deepEqual(afterClose(code, highest), { again: false, reason });
  });
}

for (const code of [1001, 1006, 1009, 1011, 1012, 4408, 4999]) {
  test(`${code} is followed by another attempt`, () => {
    assert.deepEqual(afterClose(code, highest), { again: true, reason: "lost", delayMs: 500 });
  });
}

test("delays double up to half a minute, and half of each is random", () => {
  const delay = (tries, random) => afterClose(1006, { tries, random: () => random }).delayMs;
  assert.deepEqual(
    [0, 1, 2, 3].map((tries) => delay(tries, 1)),
    [500, 1000, 2000, 4000],
  );
  assert.equal(delay(1, 0), 500);
  assert.equal(delay(50, 1), 30_000);
  assert.equal(delay(50, 0), 15_000);
});

test("a restarting server gets the delay that it asked for", () => {
  const next = afterClose(4503, { ...highest, draining: true, retryAfter: 3.5 });
  assert.deepEqual(next, { again: true, reason: "restarting", delayMs: 3500 });
});

test("an announced restart counts, whatever the close code is", () => {
  const next = afterClose(1006, { ...highest, draining: true, retryAfter: 2 });
  assert.deepEqual(next, { again: true, reason: "restarting", delayMs: 2000 });
});

test("a server that restarts repeatedly is not contacted faster than the backoff allows", () => {
  const next = afterClose(4503, { tries: 5, retryAfter: 1, random: () => 1 });
  assert.equal(next.delayMs, 16_000);
});

test("4429 waits as long as the server asks, or ten seconds by default", () => {
  const told = afterClose(4429, { ...highest, retryAfter: 42 });
  assert.deepEqual(told, { again: true, reason: "limited", delayMs: 42_000 });
  assert.equal(afterClose(4429, highest).delayMs, 10_000);
});
