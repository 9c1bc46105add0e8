import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import * as words from "../../agent/static/agent/page/i18n/format.js";
import { WORDS } from "../../agent/static/agent/page/i18n/labels/en.js";
import { t } from "../../agent/static/agent/page/i18n/translate.js";

const PAGE = new URL("../../agent/static/agent/page/", import.meta.url);
const sources = readdirSync(PAGE, { recursive: true })
  .filter((name) => name.endsWith(".js"))
  .map((name) => readFileSync(new URL(name, PAGE), "utf8"))
  .join("\n");

test("every word that is asked for is in the catalogue, and every word there is used", () => {
  const asked = new Set([...sources.matchAll(/\bt\("(\w+)"/g)].map(([, name]) => name));
  assert.ok(asked.size > 40);
  assert.deepEqual(
    [...asked].filter((name) => !(name in WORDS)),
    [],
  );
  assert.deepEqual(
    Object.keys(WORDS).filter((name) => !sources.includes(`"${name}"`)),
    [],
  );
});

test("an answer that is not whole says why, and one without text has said so itself", () => {
  const answer = { finishReason: "length", content: "Half of", isEmpty: false };
  assert.match(words.endingWords({ answer }), /^Cut off/);
  assert.equal(words.endingWords({ answer: { ...answer, isEmpty: true } }), "");
});

test("a span of thinking is told in seconds and minutes, if it is known", () => {
  const spans = [null, 5, 1_400, 59_600, 75_000].map(words.thoughtWords);
  const told = ["about it", "for 1 s", "for 1 s", "for 1 min 0 s", "for 1 min 15 s"];
  assert.deepEqual(
    spans,
    told.map((span) => `Thought ${span}`),
  );
});

test("a word is filled in, and has the form of its number", () => {
  assert.equal(t("queue", { n: 1 }), "1 message waiting");
  assert.equal(t("queue", { n: 2 }), "2 messages waiting");
  assert.equal(t("numberInLine", { position: 1234 }), "Waiting, number 1,234 in line");
  assert.throws(() => t("no such word"));
});

test("a state of the connection is told in words, with what waits", () => {
  const state = { phase: "waiting", reason: "lost", words: "", lostAt: 0, retryAt: 4_000 };
  assert.equal(words.connectionWords(state, 0, 0), "Reconnecting in 4 s");
  const offline = { ...state, reason: "offline", retryAt: null };
  assert.equal(words.connectionWords(offline, 2, 0), "You are offline; 2 messages waiting");
  assert.equal(words.connectionWords(offline, 0, 0), "You are offline");
  const limited = { ...state, reason: "limited", words: "Too many." };
  assert.equal(words.connectionWords(limited, 0, 1_500), "Too many. · Trying again in 3 s");
});

test("what an answer took is told as far as it is known", () => {
  const usage = { prompt_tokens: 1200, completion_tokens: 5, cost: 0.00421 };
  assert.equal(words.usageWords(usage), "1,200 → 5 tokens · 0.0042 credits");
  assert.equal(words.usageWords({ ...usage, cost: null }), "1,200 → 5 tokens");
  assert.equal(words.usageWords({ ...usage, prompt_tokens: null, cost: 0 }), "");
  assert.match(words.usageDetails(null, null), /Model unknown; unknown tokens read/);
});

test("days are told as people tell them", () => {
  const now = new Date(2026, 4, 3, 12);
  const told = (...day) => words.dayWords(new Date(...day).toISOString(), now);
  assert.equal(told(2026, 4, 3, 1), "Today");
  assert.equal(told(2026, 4, 2, 23), "Yesterday");
  assert.equal(told(2026, 0, 1, 12), "Thursday, January 1");
  assert.equal(told(2025, 0, 1, 12), "Wednesday, January 1, 2025");
});
