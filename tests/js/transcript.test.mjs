import assert from "node:assert/strict";
import { test } from "node:test";
import { Transcript } from "../../agent/static/agent/client/transcript/transcript.js";
import { delta, note, query, reasoning, response, status, welcome } from "./fakes.mjs";

function transcriptOf(...frames) {
  const transcript = new Transcript();
  transcript.begin(welcome());
  for (const frame of frames) transcript.apply(frame);
  return transcript;
}

const order = (transcript) => transcript.entries().map((entry) => entry.id);

test("a query, its statuses, deltas and response become one turn", () => {
  const transcript = transcriptOf(query(1, "t1", "r1", "hello"));
  const turn = transcript.turn("t1");
  assert.equal(turn.state, "waiting");
  transcript.apply(status("thinking", "t1", { attempt: 1 }));
  assert.equal(turn.state, "running");
  transcript.apply(delta("t1", 0, 1, "Hi"));
  assert.equal(turn.streamed.content, "Hi");
  transcript.apply(response(2, "t1", "r1", "Hi there", { finish_reason: "length" }));
  assert.equal(turn.state, "ended");
  assert.equal(turn.answer.content, "Hi there");
  assert.equal(turn.answer.finishReason, "length");
  assert.equal(turn.question.content, "hello");
  assert.equal(transcript.busy, false);
});

test("a repeated durable frame changes nothing", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), response(2, "t1", "r1"));
  const { version } = transcript.turn("t1");
  assert.equal(transcript.apply(query(1, "t1", "r1", "other")), "repeated");
  assert.equal(transcript.apply(response(2, "t1", "r1", "other")), "repeated");
  assert.equal(transcript.turn("t1").version, version);
  assert.equal(transcript.lastSeq, 2);
});

test("a durable frame that arrives too early is a gap and is not applied", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"));
  assert.equal(transcript.apply(response(3, "t1", "r1")), "gap");
  assert.equal(transcript.turn("t1").answer, null);
  assert.equal(transcript.lastSeq, 1);
});

test("the seq of `received` is not consumed", () => {
  const transcript = transcriptOf(status("received", "t1", { ref: "r1", seq: 1 }));
  assert.equal(transcript.lastSeq, 0);
  assert.equal(transcript.apply(query(1, "t1", "r1")), "applied");
});

test("an acknowledged query is an entry before its frame arrives, and stays the same entry", () => {
  const transcript = transcriptOf();
  const received = status("received", "t1", { ref: "r1", seq: 1, state: "queued" });
  transcript.expect(received, { content: "hello", timestamp: "2026-01-01T00:00:00Z", options: {} });
  const [entry] = transcript.entries();
  assert.equal(entry.question.content, "hello");
  assert.equal(entry.question.id, null);
  transcript.apply(query(1, "t1", "r1", "hello"));
  assert.equal(transcript.entries()[0], entry);
  assert.equal(entry.question.id, "m1");
  assert.equal(entry.key, "r1");
});

test("a delta after the end of its turn is ignored", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), response(2, "t1", "r1"));
  assert.equal(transcript.apply(delta("t1", 0, 0, "late")), "repeated");
  assert.equal(transcript.turn("t1").state, "ended");
});

test("a gap in deltas is reported", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), delta("t1", 0, 0, "a"));
  assert.equal(transcript.apply(delta("t1", 2, 2, "c")), "gap");
  assert.equal(transcript.turn("t1").streamed.content, "a");
});

test("reasoning streams beside the answer, with an index of its own", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), reasoning("t1", 0, 2, "Hmm"));
  const turn = transcript.turn("t1");
  assert.equal(turn.state, "running");
  const { version } = turn;
  assert.equal(transcript.apply(reasoning("t1", 3, 4, "!!")), "applied");
  assert.ok(turn.version > version);
  assert.equal(transcript.apply(delta("t1", 0, 1, "Hi")), "applied");
  assert.equal(turn.streamedReasoning.content, "Hmm!!");
  assert.equal(turn.streamed.content, "Hi");
});

test("reasoning follows the rules of deltas", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), reasoning("t1", 0, 2, "abc"));
  const turn = transcript.turn("t1");
  assert.equal(transcript.apply(reasoning("t1", 1, 2, "bc")), "applied");
  assert.equal(transcript.apply(reasoning("t1", 4, 4, "e")), "gap");
  assert.equal(turn.streamedReasoning.content, "abc");
  transcript.apply(reasoning("t1", 0, 4, "abcde", { snapshot: true }));
  assert.equal(turn.streamedReasoning.content, "abcde");
  transcript.apply(response(2, "t1", "r1"));
  assert.equal(turn.streamedReasoning.content, "");
  assert.equal(transcript.apply(reasoning("t1", 5, 5, "f")), "repeated");
});

for (const [name, frame] of [
  ["thinking", status("thinking", "t1", { attempt: 2 })],
  ["a delta", delta("t1", 0, 0, "x", { attempt: 2 })],
  ["reasoning", reasoning("t1", 0, 0, "x", { attempt: 2 })],
]) {
  test(`${name} of a higher attempt clears both texts`, () => {
    const transcript = transcriptOf(query(1, "t1", "r1"));
    transcript.apply(reasoning("t1", 0, 2, "old"));
    transcript.apply(delta("t1", 0, 2, "old"));
    transcript.apply(frame);
    const { streamed, streamedReasoning } = transcript.turn("t1");
    assert.ok(!`${streamed.content}${streamedReasoning.content}`.includes("old"));
    assert.equal(transcript.apply(reasoning("t1", 3, 3, "!")), "applied");
    assert.equal(streamedReasoning, transcript.turn("t1").streamedReasoning);
  });
}

test("a response has the reasoning and the sources of its frame, or none", () => {
  const sources = [{ url: "https://example.org/", title: "Example" }];
  const told = { reasoning: { ms: 1200, tokens: null, content: "Hmm" }, sources };
  const frames = [query(1, "t1", "r1"), response(2, "t1", "r1", "Hi", told)];
  const { answer } = transcriptOf(...frames).turn("t1");
  assert.deepEqual(answer.reasoning, { ms: 1200, tokens: null, content: "Hmm" });
  assert.deepEqual(answer.sources, sources);
  const plain = transcriptOf(query(1, "t1", "r1"), response(2, "t1", "r1")).turn("t1").answer;
  assert.equal(plain.reasoning, null);
  assert.deepEqual(plain.sources, []);
  const hidden = transcriptOf(
    query(1, "t1", "r1"),
    response(2, "t1", "r1", "", { reasoning: { ms: 5, tokens: 7 } }),
  );
  assert.equal(hidden.turn("t1").answer.reasoning.content, "");
});

test("a restarted turn clears the text of the attempt before", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), delta("t1", 0, 2, "abc"));
  transcript.apply(status("restarted", "t1", { attempt: 2 }));
  assert.equal(transcript.turn("t1").streamed.content, "");
  transcript.apply(delta("t1", 3, 3, "d"));
  assert.equal(transcript.turn("t1").streamed.content, "");
});

test("a failure keeps the partial text", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), delta("t1", 0, 2, "abc"));
  const failure = { type: "error", seq: 2, turn: "t1", ref: "r1", code: "provider_timeout" };
  transcript.apply({ ...failure, content: "Too slow.", retryable: true, partial: "abc" });
  const turn = transcript.turn("t1");
  assert.equal(turn.state, "ended");
  assert.deepEqual([turn.failure.code, turn.failure.partial], ["provider_timeout", "abc"]);
});

test("an error without seq ends nothing", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"));
  const error = { type: "error", ref: "r1", turn: "t1", code: "busy", content: "Busy." };
  assert.equal(transcript.apply(error), "foreign");
  assert.equal(transcript.turn("t1").state, "waiting");
});

test("waiting turns stand at the end, the next one first", () => {
  const transcript = transcriptOf(
    query(1, "t1", "r1"),
    status("thinking", "t1", { attempt: 1 }),
    query(2, "t2", "r2"),
    query(3, "t3", "r3"),
    status("queued", "t2", { position: 2 }),
    status("queued", "t3", { position: 1 }),
    note(4, "news"),
  );
  assert.deepEqual(order(transcript), ["t1", "n4", "t3", "t2"]);
  transcript.apply(response(5, "t1", "r1"));
  transcript.apply(status("thinking", "t3", { attempt: 1 }));
  assert.deepEqual(order(transcript), ["t1", "n4", "t3", "t2"]);
  assert.equal(transcript.running.id, "t3");
});

test("a replay has the same order as the live frames", () => {
  const durable = [
    note(1, "before"),
    query(2, "t1", "r1"),
    query(3, "t2", "r2"),
    note(4, "while t1 ran"),
    query(5, "t3", "r3"),
    response(6, "t3", "r3", "", { finish_reason: "cancelled" }),
    response(7, "t1", "r1"),
    note(8, "between"),
    response(9, "t2", "r2"),
  ];
  const live = transcriptOf();
  for (const frame of durable) {
    live.apply(frame);
    if (frame.seq === 2) live.apply(status("thinking", "t1", { attempt: 1 }));
    if (frame.seq === 7) live.apply(status("thinking", "t2", { attempt: 1 }));
  }
  const replayed = transcriptOf(...durable);
  assert.deepEqual(order(replayed), ["n1", "t1", "n4", "t3", "t2", "n8"]);
  assert.deepEqual(order(live), order(replayed));
});

test("a turn of the welcome does not stand before replayed entries", () => {
  const transcript = new Transcript();
  const turns = [{ turn: "t2", ref: "r2", state: "running", position: 0 }];
  transcript.begin(welcome({ last_seq: 4, turns }));
  assert.equal(transcript.busy, true);
  const frames = [note(1, "first"), query(2, "t1", "r1"), response(3, "t1", "r1")];
  for (const frame of [...frames, query(4, "t2", "r2")]) transcript.apply(frame);
  transcript.apply(status("thinking", "t2", { attempt: 1 }));
  assert.deepEqual(order(transcript), ["n1", "t1", "t2"]);
});

test("a transcript that is ahead of the server is cleared", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), response(2, "t1", "r1"));
  transcript.begin(welcome({ last_seq: 1 }));
  assert.equal(transcript.lastSeq, 0);
  assert.deepEqual(transcript.entries(), []);
});

test("a replay of the newest frames only begins where the welcome says", () => {
  const transcript = new Transcript();
  transcript.begin(welcome({ last_seq: 9, replay_from: 7 }));
  assert.equal(transcript.apply(query(8, "t1", "r1")), "applied");
});

test("an expired notification is an entry without text", () => {
  const transcript = transcriptOf(note(1, "", { event: "expired" }));
  assert.equal(transcript.lastSeq, 1);
  assert.deepEqual(
    transcript.entries().map(({ event, content }) => [event, content]),
    [["expired", ""]],
  );
});

test("an unknown notification is shown by its content", () => {
  const transcript = transcriptOf(note(1, "Something new", { event: "unheard_of" }));
  assert.equal(transcript.entries()[0].content, "Something new");
});

test("a retry is an entry of its own beside the query of the same ref", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), response(2, "t1", "r1"));
  transcript.apply(status("thinking", "t2", { ref: "r1", attempt: 1 }));
  transcript.apply(response(3, "t2", "r1", "better"));
  assert.deepEqual(
    transcript.entries().map(({ key }) => key),
    ["r1", "t2"],
  );
  assert.equal(transcript.turn("t1").answer.content, "answer t1");
});

test("feedback belongs to its answer", () => {
  const transcript = transcriptOf(query(1, "t1", "r1"), response(2, "t1", "r1"));
  transcript.apply({ type: "feedback", seq: 3, target: "m2", rating: "up" });
  assert.equal(transcript.turn("t1").answer.rating, "up");
  transcript.apply({ type: "feedback", seq: 4, target: "m2", rating: null });
  assert.equal(transcript.turn("t1").answer.rating, null);
});

test("a page of the history stands before everything, and an answer finds its question there", () => {
  const transcript = new Transcript();
  transcript.begin(welcome({ last_seq: 6, replay_from: 3 }));
  assert.equal(transcript.firstSeq, 4);
  transcript.apply(response(4, "t2", "r2"));
  transcript.apply(query(5, "t3", "r3"));
  transcript.apply(response(6, "t3", "r3"));
  transcript.prepend([query(1, "t1", "r1"), response(2, "t1", "r1"), query(3, "t2", "r2", "two")]);
  assert.deepEqual(order(transcript), ["t1", "t2", "t3"]);
  assert.equal(transcript.turn("t2").question.content, "two");
  assert.equal(transcript.firstSeq, 1);
  assert.equal(transcript.apply(query(7, "t4", "r4")), "applied");
});

test("feedback is applied to an answer that is loaded later, with the history", () => {
  const transcript = new Transcript();
  transcript.begin(welcome({ last_seq: 3, replay_from: 2 }));
  transcript.apply({ type: "feedback", seq: 3, target: "m2", rating: "down", content: "Too long" });
  transcript.prepend([query(1, "t1", "r1"), response(2, "t1", "r1")]);
  const { rating, comment } = transcript.turn("t1").answer;
  assert.deepEqual([rating, comment], ["down", "Too long"]);
});

test("the newest title wins, whatever page it stands on", () => {
  const renamed = (seq, title) => note(seq, `Renamed to ${title}`, { event: "renamed", title });
  const transcript = new Transcript();
  transcript.begin(welcome({ last_seq: 2, replay_from: 1 }));
  transcript.apply(renamed(2, "new"));
  transcript.prepend([renamed(1, "old")]);
  assert.equal(transcript.title, "new");
  assert.deepEqual(transcript.entries(), []);
});

test("feedback is applied to an answer on the second page of the history", () => {
  const transcript = new Transcript();
  transcript.begin(welcome({ last_seq: 5, replay_from: 4 }));
  transcript.apply({ type: "feedback", seq: 5, target: "m2", rating: "up" });
  transcript.prepend([query(3, "t2", "r2"), response(4, "t2", "r2")]);
  transcript.prepend([query(1, "t1", "r1"), response(2, "t1", "r1")]);
  assert.equal(transcript.turn("t1").answer.rating, "up");
});
