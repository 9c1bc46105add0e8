import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble, emptyText } from "../../agent/static/agent/client/transcript/deltas.js";

const text = { attempt: 1, index: 2, content: "abc" };

test("the next piece is appended", () => {
  const next = assemble(text, { attempt: 1, index: 3, content: "d" });
  assert.deepEqual(next, { text: { attempt: 1, index: 3, content: "abcd" }, gap: false });
});

test("merged pieces are appended when the first is the next", () => {
  const next = assemble(text, { attempt: 1, first: 3, index: 7, content: "defgh" });
  assert.deepEqual(next.text, { attempt: 1, index: 7, content: "abcdefgh" });
});

test("the first pieces are appended to nothing", () => {
  const next = assemble(emptyText(0), { attempt: 1, first: 0, index: 1, content: "ab" });
  assert.deepEqual(next, { text: { attempt: 1, index: 1, content: "ab" }, gap: false });
});

test("a repeated piece changes nothing", () => {
  const next = assemble(text, { attempt: 1, first: 1, index: 2, content: "bc" });
  assert.equal(next.text, text);
  assert.equal(next.gap, false);
});

test("missing pieces are a gap, and nothing is appended", () => {
  const next = assemble(text, { attempt: 1, first: 4, index: 5, content: "ef" });
  assert.deepEqual(next, { text, gap: true });
});

test("pieces that overlap the text are a gap, because they cannot be cut", () => {
  const next = assemble(text, { attempt: 1, first: 2, index: 4, content: "cde" });
  assert.deepEqual(next, { text, gap: true });
});

test("a snapshot replaces the text", () => {
  const frame = { attempt: 1, index: 9, content: "abcdefghij", snapshot: true };
  assert.deepEqual(assemble(text, frame).text, { attempt: 1, index: 9, content: "abcdefghij" });
});

test("a snapshot that is older than the text removes nothing", () => {
  const frame = { attempt: 1, index: 1, content: "ab", snapshot: true };
  assert.equal(assemble(text, frame).text, text);
});

test("a higher attempt begins a new text", () => {
  const next = assemble(text, { attempt: 2, first: 0, index: 0, content: "x" });
  assert.deepEqual(next, { text: { attempt: 2, index: 0, content: "x" }, gap: false });
});

test("a higher attempt whose beginning is missing is a gap and clears the old text", () => {
  const next = assemble(text, { attempt: 2, first: 3, index: 3, content: "x" });
  assert.deepEqual(next, { text: emptyText(2), gap: true });
});

test("an older attempt is ignored, even as a snapshot", () => {
  const newer = { attempt: 3, index: 0, content: "z" };
  const frame = { attempt: 2, index: 9, content: "old", snapshot: true };
  assert.deepEqual(assemble(newer, frame), { text: newer, gap: false });
});
