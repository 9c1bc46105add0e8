import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import * as format from "../../agent/static/agent/page/i18n/format.js";
import { LABELS } from "../../agent/static/agent/page/i18n/labels/en.js";
import { t } from "../../agent/static/agent/page/i18n/translate.js";

const PAGE = new URL("../../agent/static/agent/page/", import.meta.url);
const sources = readdirSync(PAGE, { recursive: true })
  .filter((name) => name.endsWith(".js") && !name.startsWith("i18n/labels/"))
  .map((name) => readFileSync(new URL(name, PAGE), "utf8"))
  .join("\n");

test("every label that is used is in the catalogue, and every label of the catalogue is used", () => {
  const asked = new Set([...sources.matchAll(/\bt\("(\w+)"/g)].map(([, name]) => name));
  assert.ok(asked.size > 40);
  assert.deepEqual(
    [...asked].filter((name) => !(name in LABELS)),
    [],
  );
  assert.deepEqual(
    Object.keys(LABELS).filter((name) => !sources.includes(`"${name}"`)),
    [],
  );
});

test("an incomplete answer says why, unless its content already does", () => {
  const answer = { finishReason: "length", content: "Half of", isEmpty: false };
  assert.match(format.formatEnding({ answer }), /^Cut off/);
  assert.equal(format.formatEnding({ answer: { ...answer, isEmpty: true } }), "");
});

test("the duration of reasoning is shown in seconds and minutes, if it is known", () => {
  const durations = [null, 5, 1_400, 59_600, 75_000].map(format.formatReasoningTime);
  const expected = ["about it", "for 1 s", "for 1 s", "for 1 min 0 s", "for 1 min 15 s"];
  assert.deepEqual(
    durations,
    expected.map((duration) => `Thought ${duration}`),
  );
});

test("a label is filled in, and has the form of its number", () => {
  assert.equal(t("queue", { n: 1 }), "1 message waiting");
  assert.equal(t("queue", { n: 2 }), "2 messages waiting");
  assert.equal(t("numberInLine", { position: 1234 }), "Waiting, number 1,234 in line");
  assert.throws(() => t("no such label"));
});

test("a state of the connection is described, with the number of waiting messages", () => {
  const state = { phase: "waiting", reason: "lost", message: "", lostAt: 0, retryAt: 4_000 };
  assert.equal(format.formatConnection(state, 0, 0), "Reconnecting in 4 s");
  const offline = { ...state, reason: "offline", retryAt: null };
  assert.equal(format.formatConnection(offline, 2, 0), "You are offline; 2 messages waiting");
  assert.equal(format.formatConnection(offline, 0, 0), "You are offline");
  const limited = { ...state, reason: "limited", message: "Too many." };
  assert.equal(format.formatConnection(limited, 0, 1_500), "Too many. · Trying again in 3 s");
});

test("the usage of an answer is shown as far as it is known", () => {
  const usage = { prompt_tokens: 1200, completion_tokens: 5, cost: 0.00421 };
  assert.equal(format.formatUsage(usage), "1,200 → 5 tokens · 0.0042 credits");
  assert.equal(format.formatUsage({ ...usage, cost: null }), "1,200 → 5 tokens");
  assert.equal(format.formatUsage({ ...usage, prompt_tokens: null, cost: 0 }), "");
  assert.match(format.formatUsageDetails(null, null), /Model unknown; unknown tokens read/);
});

test("days are named as people name them", () => {
  const now = new Date(2026, 4, 3, 12);
  const named = (...day) => format.formatDay(new Date(...day).toISOString(), now);
  assert.equal(named(2026, 4, 3, 1), "Today");
  assert.equal(named(2026, 4, 2, 23), "Yesterday");
  assert.equal(named(2026, 0, 1, 12), "Thursday, January 1");
  assert.equal(named(2025, 0, 1, 12), "Wednesday, January 1, 2025");
});
