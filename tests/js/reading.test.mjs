import assert from "node:assert/strict";
import { test } from "node:test";
import { Reading } from "../../agent/static/agent/client/reading.js";
import { Transcript } from "../../agent/static/agent/client/transcript/transcript.js";
import { note, query, response, status, welcome } from "./fakes.mjs";

function transcriptOf(...frames) {
  const transcript = new Transcript();
  transcript.begin(welcome());
  for (const frame of frames) transcript.apply(frame);
  return transcript;
}

const edit = (seq, turn, ref, replaces) => ({ ...query(seq, turn, ref), replaces });
const asked = (seq, turn) => [query(seq, turn, `r${turn}`), response(seq + 1, turn, `r${turn}`)];
const shown = (reading) => reading.items().map((item) => item.turn?.id ?? item.id);

test("questions and their answers are shown in the order of asking", () => {
  const reading = new Reading(transcriptOf(...asked(1, "a"), ...asked(3, "b")));
  assert.deepEqual(shown(reading), ["a", "b"]);
  const [first] = reading.items();
  assert.deepEqual(
    [first.answers, first.edits],
    [
      { index: 0, count: 1 },
      { index: 0, count: 1 },
    ],
  );
});

test("a retry is another version of its answer, and the old version can still be shown", () => {
  const transcript = transcriptOf(...asked(1, "a"), ...asked(3, "b"));
  const reading = new Reading(transcript);
  transcript.apply(status("queued", "a2", { ref: "ra", position: 1 }));
  assert.deepEqual(shown(reading), ["a", "b"], "a waiting retry has nothing to show");
  transcript.apply(status("thinking", "a2", { ref: "ra", attempt: 1 }));
  assert.deepEqual(shown(reading), ["a2", "b"]);
  transcript.apply(response(5, "a2", "ra"));
  const [first] = reading.items();
  assert.deepEqual(first.answers, { index: 1, count: 2 });
  reading.showAnswer(first, 0);
  assert.deepEqual(shown(reading), ["a", "b"]);
  assert.equal(reading.showsEarlierBranch, false);
  reading.showLatestAnswer(first);
  assert.deepEqual(shown(reading), ["a2", "b"], "as after another retry");
  reading.showAnswer(first, 0);
  reading.showLatest();
  assert.deepEqual(shown(reading), ["a2", "b"]);
});

test("an edit replaces its target and everything behind it, which can still be shown", () => {
  const transcript = transcriptOf(...asked(1, "a"), ...asked(3, "b"), ...asked(5, "c"));
  const reading = new Reading(transcript);
  transcript.apply(edit(7, "b2", "rb2", "m3"));
  transcript.apply(response(8, "b2", "rb2"));
  for (const frame of asked(9, "d")) transcript.apply(frame);
  assert.deepEqual(shown(reading), ["a", "b2", "d"]);
  const edited = reading.items()[1];
  assert.deepEqual(edited.edits, { index: 1, count: 2 });

  reading.showEdit(edited, 0);
  assert.deepEqual(shown(reading), ["a", "b", "c"]);
  assert.deepEqual(
    reading.items().map(({ current }) => current),
    [true, false, false],
  );
  assert.equal(reading.showsEarlierBranch, true);
  reading.showEdit(reading.items()[1], 1);
  assert.deepEqual(shown(reading), ["a", "b2", "d"]);
  reading.showEdit(reading.items()[1], 0);
  reading.showLatest();
  assert.deepEqual(shown(reading), ["a", "b2", "d"]);
});

test("an edit of an edit is a third version of the same question", () => {
  const reading = new Reading(
    transcriptOf(...asked(1, "a"), edit(3, "b", "rb", "m1"), edit(4, "c", "rc", "m3")),
  );
  assert.deepEqual(shown(reading), ["c"]);
  assert.deepEqual(reading.items()[0].edits, { index: 2, count: 3 });
});

test("notifications are shown on every branch", () => {
  const frames = [...asked(1, "a"), note(3, "from outside"), edit(4, "b", "rb", "m1")];
  const reading = new Reading(transcriptOf(...frames, response(5, "b", "rb")));
  assert.deepEqual(shown(reading), ["n3", "b"]);
  reading.showEdit(reading.items()[1], 0);
  assert.deepEqual(shown(reading), ["a", "n3"]);
});

test("an edit whose target is not loaded yet finds its place when it is", () => {
  const transcript = new Transcript();
  transcript.begin(welcome({ last_seq: 6, replay_from: 4 }));
  transcript.apply(edit(5, "b", "rb", "m1"));
  transcript.apply(response(6, "b", "rb"));
  const reading = new Reading(transcript);
  assert.deepEqual(shown(reading), ["b"]);
  transcript.prepend([...asked(1, "a"), ...asked(3, "c")]);
  assert.deepEqual(shown(reading), ["b"]);
  assert.deepEqual(reading.items()[0].edits, { index: 1, count: 2 });
});

test("the items are the same until something is added, moved or chosen", () => {
  const transcript = transcriptOf(query(1, "a", "ra"), status("thinking", "a", { attempt: 1 }));
  const reading = new Reading(transcript);
  const before = reading.items();
  transcript.apply({ type: "delta", turn: "a", attempt: 1, first: 0, index: 0, content: "x" });
  assert.equal(reading.items(), before);
  transcript.apply(response(2, "a", "ra"));
  assert.notEqual(reading.items(), before);
});
