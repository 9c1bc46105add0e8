import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble, nothingOf } from "../../agent/static/agent/client/transcript/deltas.js";

const held = { attempt: 1, index: 2, content: "abc" };

test("the next piece is appended", () => {
  const next = assemble(held, { attempt: 1, index: 3, content: "d" });
  assert.deepEqual(next, { held: { attempt: 1, index: 3, content: "abcd" }, hole: false });
});

test("merged pieces are appended when the first is the next", () => {
  const next = assemble(held, { attempt: 1, first: 3, index: 7, content: "defgh" });
  assert.deepEqual(next.held, { attempt: 1, index: 7, content: "abcdefgh" });
});

test("the first pieces are appended to nothing", () => {
  const next = assemble(nothingOf(0), { attempt: 1, first: 0, index: 1, content: "ab" });
  assert.deepEqual(next, { held: { attempt: 1, index: 1, content: "ab" }, hole: false });
});

test("a piece that is held already changes nothing", () => {
  const next = assemble(held, { attempt: 1, first: 1, index: 2, content: "bc" });
  assert.equal(next.held, held);
  assert.equal(next.hole, false);
});

test("missing pieces are a hole, and nothing is appended", () => {
  const next = assemble(held, { attempt: 1, first: 4, index: 5, content: "ef" });
  assert.deepEqual(next, { held, hole: true });
});

test("pieces that overlap what is held are a hole, because they cannot be cut", () => {
  const next = assemble(held, { attempt: 1, first: 2, index: 4, content: "cde" });
  assert.deepEqual(next, { held, hole: true });
});

test("a snapshot replaces what is held", () => {
  const frame = { attempt: 1, index: 9, content: "abcdefghij", snapshot: true };
  assert.deepEqual(assemble(held, frame).held, { attempt: 1, index: 9, content: "abcdefghij" });
});

test("a snapshot that is older than what is held does not take text away", () => {
  const frame = { attempt: 1, index: 1, content: "ab", snapshot: true };
  assert.equal(assemble(held, frame).held, held);
});

test("a higher attempt starts anew", () => {
  const next = assemble(held, { attempt: 2, first: 0, index: 0, content: "x" });
  assert.deepEqual(next, { held: { attempt: 2, index: 0, content: "x" }, hole: false });
});

test("a higher attempt whose start was missed is a hole and forgets the old text", () => {
  const next = assemble(held, { attempt: 2, first: 3, index: 3, content: "x" });
  assert.deepEqual(next, { held: nothingOf(2), hole: true });
});

test("an older attempt is ignored, also as a snapshot", () => {
  const newer = { attempt: 3, index: 0, content: "z" };
  const frame = { attempt: 2, index: 9, content: "old", snapshot: true };
  assert.deepEqual(assemble(newer, frame), { held: newer, hole: false });
});
