import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { AgentClient } from "../../agent/static/agent/client/client.js";
import { memoryStore } from "../../agent/static/agent/client/storage.js";
import * as fakes from "./fakes.mjs";

const { FakeClock, FakeSocket, READY, SESSION, delta, query, response, status, welcome } = fakes;

let clock;
let local;
let tab;

beforeEach(() => {
  FakeSocket.all = [];
  clock = new FakeClock();
  local = memoryStore();
  tab = memoryStore();
});

function newClient(options = {}) {
  const url = "ws://example.org/ws/agent/";
  const random = () => 1;
  const client = new AgentClient({
    url,
    local,
    tab,
    clock,
    random,
    WebSocket: FakeSocket,
    ...options,
  });
  client.heard = [];
  for (const name of ["session", "ended", "returned", "problem"]) {
    client.on(name, (detail) => client.heard.push([name, detail]));
  }
  client.connect();
  return client;
}

function ready(...frames) {
  FakeSocket.last.receive(...(frames.length ? frames : [welcome()]), READY);
  return FakeSocket.last;
}

const heard = (client, name) => client.heard.filter(([event]) => event === name).map(([, d]) => d);
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a new session connects without a query string and speaks agent.v1", () => {
  newClient();
  assert.equal(FakeSocket.last.url, "ws://example.org/ws/agent/");
  assert.deepEqual(FakeSocket.last.protocols, ["agent.v1"]);
});

test("a token travels as a sub-protocol and never in the address", () => {
  newClient({ token: "secret" });
  assert.deepEqual(FakeSocket.last.protocols, ["agent.v1", "bearer.secret"]);
  assert.ok(!FakeSocket.last.url.includes("secret"));
});

test("an anonymous client resumes its session with the token of the welcome", () => {
  newClient();
  ready(welcome({ resume_token: "once" }));
  FakeSocket.last.drop();
  clock.advance(500);
  assert.deepEqual(FakeSocket.last.protocols, ["agent.v1", "bearer.once"]);
});

test("a reconnect resumes behind the last durable frame", () => {
  newClient();
  ready(welcome()).receive(query(1, "t1", "r1"), response(2, "t1", "r1"));
  FakeSocket.last.drop();
  clock.advance(500);
  assert.equal(FakeSocket.last.url, `ws://example.org/ws/agent/?session=${SESSION}&last_seq=2`);
});

test("a query waits for `ready`, then goes out with its id", () => {
  const client = newClient();
  const id = client.ask("hello");
  assert.deepEqual(FakeSocket.last.queries(), []);
  const socket = ready();
  assert.deepEqual(
    socket.queries().map(({ id, content }) => [id, content]),
    [[id, "hello"]],
  );
});

test("an unacknowledged query is sent again after a reconnect with the same id", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  FakeSocket.last.drop();
  clock.advance(500);
  const socket = ready(welcome({ resumed: true }));
  assert.deepEqual(
    socket.queries().map((frame) => frame.id),
    [id],
  );
});

test("an acknowledged query is not sent again", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  FakeSocket.last.receive(status("received", "t1", { ref: id, seq: 1 }));
  FakeSocket.last.drop();
  clock.advance(500);
  assert.deepEqual(ready(welcome({ last_seq: 1 })).queries(), []);
});

test("a query whose frame is replayed is not sent again even if its receipt was lost", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  FakeSocket.last.drop();
  clock.advance(500);
  const socket = ready(welcome({ last_seq: 1 }), query(1, "t1", id, "hello"));
  assert.deepEqual(socket.queries(), []);
  assert.deepEqual(client.outbox.entries, []);
});

test("the outbox survives the page and its queries are sent with the same id", () => {
  const before = newClient();
  ready();
  const id = before.ask("hello");
  FakeSocket.last.drop();
  newClient({ session: SESSION });
  assert.deepEqual(
    ready()
      .queries()
      .map((frame) => frame.id),
    [id],
  );
});

test("two pages of a session keep each other's outbox", () => {
  const one = newClient({ session: SESSION });
  const two = newClient({ session: SESSION });
  one.ask("from one");
  two.ask("from two");
  const three = newClient({ session: SESSION });
  const contents = three.outbox.entries.map(({ content }) => content);
  assert.deepEqual(contents.sort(), ["from one", "from two"]);
});

test("a query asked before the session has an id belongs to the tab", () => {
  newClient().ask("hello");
  assert.equal(local.keys("").length, 0);
  assert.equal(tab.keys("agent.outbox.new.").length, 1);
  ready();
  assert.equal(tab.keys("").length, 0);
  assert.equal(local.keys(`agent.outbox.${SESSION}.`).length, 1);
});

test("a refused query stays until it is sent again, with the same id", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  const refusal = { type: "error", code: "queue_full", ref: id, content: "Too many." };
  FakeSocket.last.receive(refusal);
  assert.deepEqual(client.outbox.get(id).refusal, { code: "queue_full", content: "Too many." });
  FakeSocket.last.drop();
  clock.advance(500);
  const socket = ready();
  assert.deepEqual(socket.queries(), []);
  client.resend(id);
  assert.deepEqual(
    socket.queries().map((frame) => frame.id),
    [id],
  );
});

test("a refused query can be withdrawn", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  FakeSocket.last.receive({ type: "error", code: "busy", ref: id, content: "Busy." });
  assert.equal(client.withdraw(id), "hello");
  assert.deepEqual(client.outbox.entries, []);
});

test("a message that is too large for the server (1009) is not sent again by itself", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  FakeSocket.last.drop(1009);
  clock.advance(500);
  assert.deepEqual(ready().queries(), []);
  assert.equal(client.outbox.get(id).refusal.code, "too_large");
});

test("length is counted in code points, and a query beyond the limit is not sent", () => {
  const client = newClient();
  const socket = ready();
  assert.equal(client.excess("😀".repeat(100)), 0);
  assert.equal(client.excess("😀".repeat(101)), 1);
  assert.throws(() => client.ask("x".repeat(101)), RangeError);
  assert.throws(() => client.ask(" \n"), RangeError);
  assert.deepEqual(socket.queries(), []);
});

for (const code of [1000, 4400, 4401, 4403, 4404]) {
  test(`after ${code} no socket is opened until somebody asks for it`, () => {
    const client = newClient({ session: SESSION });
    FakeSocket.last.drop(code);
    clock.advance(3_600_000);
    assert.equal(FakeSocket.all.length, 1);
    assert.equal(client.connection.phase, "stopped");
    client.connect();
    assert.equal(FakeSocket.all.length, 2);
  });
}

test("4429 waits for the retry_after of the error before it", () => {
  newClient();
  const error = { type: "error", code: "rate_limited", content: "Wait.", retry_after: 20 };
  FakeSocket.last.receive(error);
  FakeSocket.last.drop(4429);
  clock.advance(19_999);
  assert.equal(FakeSocket.all.length, 1);
  clock.advance(1);
  assert.equal(FakeSocket.all.length, 2);
});

test("a draining server is not contacted during its retry_after, whatever code it closes with", () => {
  const client = newClient();
  ready().receive({ type: "notification", event: "draining", retry_after: 4, content: "" });
  FakeSocket.last.drop(1012);
  assert.equal(client.connection.reason, "restarting");
  clock.advance(3_999);
  assert.equal(FakeSocket.all.length, 1);
  clock.advance(1);
  assert.equal(FakeSocket.all.length, 2);
});

test("delays grow while the server accepts connections and closes them at once", () => {
  newClient();
  for (const delay of [500, 1000, 2000, 4000]) {
    ready();
    FakeSocket.last.drop(1011);
    const opened = FakeSocket.all.length;
    clock.advance(delay - 1);
    assert.equal(FakeSocket.all.length, opened);
    clock.advance(1);
    assert.equal(FakeSocket.all.length, opened + 1);
  }
});

test("a stable connection resets the backoff", () => {
  newClient();
  for (let i = 0; i < 5; i += 1) {
    FakeSocket.last.drop();
    clock.advance(30_000);
  }
  ready();
  clock.advance(5_000);
  const opened = FakeSocket.all.length;
  FakeSocket.last.drop();
  clock.advance(500);
  assert.equal(FakeSocket.all.length, opened + 1);
});

test("silence of twice the heartbeat leads to another connection", () => {
  newClient();
  const socket = ready(welcome({ heartbeat: 10 }));
  clock.advance(15_000);
  socket.receive({ type: "ping" });
  assert.deepEqual(socket.sent.at(-1), { type: "pong" });
  clock.advance(20_000);
  assert.equal(FakeSocket.all.length, 1);
  clock.advance(1_000 + 500);
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(socket.closedWith, 1000);
});

test("a page that slept reads the frames that arrived before it gives up the connection", () => {
  const client = newClient();
  const socket = ready(welcome({ heartbeat: 10 }));
  clock.advance(20_500);
  socket.receive({ type: "ping" });
  clock.advance(1_000);
  assert.equal(client.connection.phase, "ready");
});

test("a handshake that never ends is abandoned", () => {
  newClient();
  clock.advance(15_000 + 500);
  assert.equal(FakeSocket.all.length, 2);
});

test("an offline client waits for the network, not for a timer", () => {
  const client = newClient();
  ready();
  client.networkChanged(false);
  FakeSocket.last.drop();
  assert.equal(client.connection.reason, "offline");
  clock.advance(3_600_000);
  assert.equal(FakeSocket.all.length, 1);
  client.networkChanged(true);
  assert.equal(FakeSocket.all.length, 2);
});

test("waking up after a silence probes the server", () => {
  const client = newClient();
  const socket = ready();
  clock.advance(30_000);
  client.wake();
  assert.deepEqual(socket.sent.at(-1), { type: "ping" });
  clock.advance(5_000 + 500);
  assert.equal(FakeSocket.all.length, 2);
});

test("a missing durable frame is requested with `resume`, once", async () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1"), response(3, "t2", "r2"), response(4, "t3", "r3"));
  assert.deepEqual(
    socket.commands("resume").map(({ args }) => args),
    [{ last_seq: 1 }],
  );
  socket.receive(response(2, "t1", "r1"), response(3, "t2", "r2"), response(4, "t3", "r3"), READY);
  await settled();
  assert.equal(client.transcript.lastSeq, 4);
  assert.equal(heard(client, "ended").length, 3);
});

test("a gap that `resume` cannot fill is stepped over", async () => {
  const client = newClient();
  const socket = ready();
  socket.receive(response(2, "t1", "r1"), READY);
  await settled();
  socket.receive(response(2, "t1", "r1"));
  assert.equal(client.transcript.lastSeq, 2);
  assert.equal(socket.commands("resume").length, 1);
});

test("a gap in deltas is filled by the snapshot of `resume`", () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1"), delta("t1", 0, 0, "a"), delta("t1", 2, 2, "c"));
  assert.equal(socket.commands("resume").length, 1);
  socket.receive(delta("t1", null, 2, "abc", { snapshot: true }), READY, delta("t1", 3, 3, "d"));
  assert.equal(client.transcript.turn("t1").streamed.content, "abcd");
});

test("a client of a server without `resume` recovers by reconnecting", async () => {
  newClient();
  const socket = ready();
  socket.receive(response(2, "t1", "r1"));
  const [{ id }] = socket.commands("resume");
  socket.receive({ type: "error", code: "unknown_command", ref: id, content: "" });
  await settled();
  clock.advance(500);
  assert.equal(FakeSocket.all.length, 2);
});

test("the end of a turn is announced once, and not when it is replayed", () => {
  const client = newClient({ session: SESSION });
  const replayed = [query(1, "t1", "r1"), response(2, "t1", "r1")];
  const frames = replayed.map((frame) => ({ ...frame, replay: true }));
  const socket = ready(welcome({ last_seq: 2 }), ...frames);
  socket.receive(query(3, "t2", "r2"), response(4, "t2", "r2"), response(4, "t2", "r2"));
  assert.deepEqual(
    heard(client, "ended").map((turn) => turn.id),
    ["t2"],
  );
});

test("the end of a turn that ran when the connection broke is announced after the reconnect", () => {
  const client = newClient();
  ready().receive(query(1, "t1", "r1"), status("thinking", "t1", { attempt: 1 }));
  FakeSocket.last.drop();
  clock.advance(500);
  ready(welcome({ last_seq: 2 }), response(2, "t1", "r1", "done", { replay: true }));
  assert.deepEqual(
    heard(client, "ended").map((turn) => turn.answer.content),
    ["done"],
  );
});

test("stop cancels everything and returns the texts of the waiting queries in order", () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1"), status("thinking", "t1", { attempt: 1 }));
  socket.receive(query(2, "t2", "r2", "second"), query(3, "t3", "r3", "third"));
  client.stop();
  assert.deepEqual(
    socket.commands("cancel").map(({ args }) => args),
    [{ all: true }],
  );
  const cancelled = { finish_reason: "cancelled" };
  socket.receive(response(4, "t2", "r2", "", cancelled), response(5, "t3", "r3", "", cancelled));
  socket.receive(response(6, "t1", "r1", "partial", cancelled));
  assert.deepEqual(heard(client, "returned"), [["second", "third"]]);
});

test("stop without a connection returns unsent texts and cancels the rest later", () => {
  const client = newClient();
  ready().receive(query(1, "t1", "r1"), status("thinking", "t1", { attempt: 1 }));
  FakeSocket.last.drop();
  client.ask("not sent yet");
  client.stop();
  assert.deepEqual(heard(client, "returned"), [["not sent yet"]]);
  clock.advance(500);
  const socket = ready(welcome({ last_seq: 1 }));
  assert.equal(socket.commands("cancel").length, 1);
  assert.deepEqual(socket.queries(), []);
});

test("a stop command that was lost on the way is sent again", async () => {
  const client = newClient();
  ready().receive(query(1, "t1", "r1"), status("thinking", "t1", { attempt: 1 }));
  client.stop();
  FakeSocket.last.drop();
  await settled();
  clock.advance(500);
  assert.equal(ready(welcome({ last_seq: 1 })).commands("cancel").length, 1);
});

test("stop with nothing to stop sends nothing, not even later", () => {
  const client = newClient();
  const socket = ready();
  client.stop();
  client.ask("hello");
  assert.deepEqual(socket.commands("cancel"), []);
});

test("the session event comes with the first query", () => {
  const client = newClient();
  ready();
  assert.deepEqual(heard(client, "session"), []);
  client.ask("hello");
  assert.deepEqual(heard(client, "session"), [SESSION]);
});

test("the session event comes with the first durable frame, whoever caused it", () => {
  const client = newClient();
  ready().receive(query(1, "t1", "another-tab"));
  assert.deepEqual(heard(client, "session"), [SESSION]);
});

test("a new session of which nothing was stored is replaced, and the outbox moves along", () => {
  const client = newClient();
  ready();
  const id = client.ask("hello");
  FakeSocket.last.drop();
  clock.advance(500);
  FakeSocket.last.drop(4404);
  assert.equal(FakeSocket.last.url, "ws://example.org/ws/agent/");
  const socket = ready(welcome({ session: "another" }));
  assert.deepEqual(
    socket.queries().map((frame) => frame.id),
    [id],
  );
  assert.deepEqual(heard(client, "session"), [SESSION, "another"]);
});

test("a session that the program chose is reported as gone, not replaced", () => {
  const client = newClient({ session: SESSION });
  FakeSocket.last.drop(4404);
  assert.deepEqual([client.connection.phase, client.connection.reason], ["stopped", "gone"]);
  assert.equal(FakeSocket.all.length, 1);
});

test("the outbox of a session that is gone moves to the next new one", () => {
  const client = newClient({ session: SESSION });
  const id = client.ask("hello");
  FakeSocket.last.drop(4404);
  client.abandon();
  newClient();
  const socket = ready(welcome({ session: "another" }));
  assert.deepEqual(
    socket.queries().map((frame) => frame.id),
    [id],
  );
});

test("a welcome of another session clears the transcript", () => {
  const client = newClient();
  ready().receive(query(1, "t1", "r1"), response(2, "t1", "r1"));
  FakeSocket.last.drop();
  clock.advance(500);
  ready(welcome({ session: "another", last_seq: 5 }));
  assert.deepEqual(client.transcript.entries(), []);
});

test("degraded lasts until its part recovers or the connection ends", () => {
  const client = newClient();
  const degraded = { type: "notification", event: "degraded", part: "redis", content: "Slow." };
  ready().receive({ ...degraded, level: "warning" });
  assert.deepEqual([...client.degraded.values()], ["Slow."]);
  FakeSocket.last.receive({ ...degraded, level: "success" });
  assert.equal(client.degraded.size, 0);
});

test("an error that is no reply is a problem", () => {
  const client = newClient();
  const error = { type: "error", code: "invalid_message", content: "Wrong." };
  ready().receive(error);
  assert.deepEqual(heard(client, "problem"), [error]);
});

test("a command gets its reply, or null when the connection is lost first", async () => {
  const client = newClient();
  const socket = ready();
  const reply = client.command("history", { limit: 1 });
  const lost = client.command("help");
  const [{ id }] = socket.commands("history");
  socket.receive({ type: "history", ref: id, frames: [], has_more: false });
  socket.drop();
  assert.equal((await reply).type, "history");
  assert.equal(await lost, null);
});

test("a frame that is not JSON is ignored", () => {
  const client = newClient();
  const socket = ready();
  socket.onmessage({ data: "{" });
  socket.onmessage({ data: "null" });
  assert.equal(client.connection.phase, "ready");
});

test("a long session opens with its tail, and its history is loaded on demand", async () => {
  const client = newClient({ session: SESSION, tail: 2 });
  assert.equal(FakeSocket.last.url, `ws://example.org/ws/agent/?session=${SESSION}&tail=2`);
  const socket = ready(
    welcome({ last_seq: 4, replay_from: 2 }),
    query(3, "t2", "r2"),
    response(4, "t2", "r2"),
  );
  const loaded = client.loadHistory();
  client.loadHistory(); // one page at a time
  const [command] = socket.commands("history");
  assert.equal(socket.commands("history").length, 1);
  assert.deepEqual(command.args, { before: 3, limit: 100 });
  const frames = [query(1, "t1", "r1"), response(2, "t1", "r1")];
  socket.receive({ type: "history", ref: command.id, frames, has_more: false });
  assert.equal(await loaded, true);
  assert.deepEqual(
    client.transcript.entries().map(({ id }) => id),
    ["t1", "t2"],
  );
  assert.equal(await client.loadHistory(), false);
  socket.drop();
  clock.advance(500);
  assert.ok(FakeSocket.last.url.endsWith("last_seq=4"));
});

test("a waiting query is recalled once it has ended without an answer", async () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1", "words"), status("queued", "t1", { position: 1 }));
  client.recall("t1");
  assert.deepEqual(socket.commands("cancel")[0].args, { turn: "t1" });
  assert.deepEqual(heard(client, "returned"), []);
  socket.receive(response(2, "t1", "r1", "", { finish_reason: "cancelled" }));
  assert.deepEqual(heard(client, "returned"), [["words"]]);
});

test("a query that was answered before it could be recalled stays", () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1", "words"), status("queued", "t1", { position: 1 }));
  client.recall("t1");
  socket.receive(response(2, "t1", "r1", "an answer"));
  assert.deepEqual(heard(client, "returned"), []);
});

test("a query sent now is cancelled and asked again, with another id, as an interruption", () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1", "words"), status("queued", "t1", { position: 1 }));
  client.sendNow("t1");
  const [cancel, again] = socket.sent.slice(-2);
  assert.deepEqual([cancel.content, cancel.args], ["cancel", { turn: "t1" }]);
  assert.deepEqual([again.content, again.on_busy], ["words", "interrupt"]);
  assert.notEqual(again.id, "r1");
});

test("a rate-limited query waits as long as the server asks, then is sent with the same id", () => {
  const client = newClient();
  const socket = ready();
  const id = client.ask("hello");
  const error = { type: "error", code: "rate_limited", ref: id, retry_after: 7, content: "Wait." };
  socket.receive(error);
  assert.equal(client.pausedUntil, clock.now() + 7_000);
  assert.equal(client.outbox.get(id).refusal, null);
  const other = client.ask("also");
  assert.equal(socket.queries().length, 1);
  clock.advance(7_000);
  assert.equal(client.pausedUntil, null);
  assert.deepEqual(
    socket.queries().map((frame) => frame.id),
    [id, id, other],
  );
});

test("feedback gets the feedback frame as its reply", async () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1"), response(2, "t1", "r1"));
  const reply = client.sendFeedback("m2", "down", "Too long");
  const { id, ...frame } = socket.sent.at(-1);
  assert.deepEqual(frame, {
    type: "human_feedback",
    target: "m2",
    rating: "down",
    content: "Too long",
  });
  const feedback = { type: "feedback", seq: 3, target: "m2", rating: "down", content: "Too long" };
  socket.receive({ ...feedback, ref: id });
  assert.equal((await reply).rating, "down");
  assert.equal(client.transcript.turn("t1").answer.rating, "down");
});

test("stop does not return a query that had begun to be answered meanwhile", () => {
  const client = newClient();
  const socket = ready();
  socket.receive(query(1, "t1", "r1"), status("thinking", "t1", { attempt: 1 }));
  socket.receive(query(2, "t2", "r2", "words"), status("queued", "t2", { position: 1 }));
  client.stop();
  socket.receive(response(3, "t1", "r1"), status("thinking", "t2", { attempt: 1 }));
  socket.receive(response(4, "t2", "r2", "a part", { finish_reason: "cancelled" }));
  assert.deepEqual(heard(client, "returned"), []);
});

function callerOf(caller, fields = {}) {
  return newClient({ caller, ...fields });
}

for (const session of [null, SESSION]) {
  test(`unsent queries of one caller are never shown to or sent as the next one, in ${session}`, () => {
    callerOf("ann", { session }).ask("from ann");
    FakeSocket.last.drop();
    const next = callerOf("ben", { session });
    assert.deepEqual(next.outbox.entries, []);
    assert.deepEqual(ready(welcome({ caller: "ben" })).queries(), []);
    const again = callerOf("ann", { session });
    assert.equal(again.outbox.entries.length, 1);
    assert.equal(ready(welcome({ caller: "ann" })).queries().length, 1);
  });
}

for (const [who, other] of [
  ["somebody else", { caller: "ben" }],
  ["nobody", { resume_token: "once" }],
]) {
  test(`a page whose caller became ${who} sends nothing that was written before`, () => {
    const client = callerOf("ann");
    ready(welcome({ caller: "ann" }));
    FakeSocket.last.drop();
    client.ask("from ann");
    clock.advance(500);
    const socket = ready(welcome({ session: "another", ...other }));
    assert.deepEqual(socket.queries(), []);
    assert.deepEqual([client.connection.phase, client.connection.reason], ["stopped", "changed"]);
    assert.equal(client.outbox.entries.length, 1);
    clock.advance(3_600_000);
    assert.equal(FakeSocket.all.length, 2);
    assert.equal(callerOf("ann").outbox.entries.length, 1);
  });
}

test("a caller that was not named is the one of the first welcome", () => {
  const client = newClient();
  ready(welcome({ caller: "ann" }));
  FakeSocket.last.drop();
  client.ask("from ann");
  clock.advance(500);
  assert.deepEqual(ready(welcome({ caller: "ben" })).queries(), []);
  assert.equal(client.connection.reason, "changed");
});

test("a browser without cookies and a server that names no caller are accepted", () => {
  const client = callerOf("new", { callerIsNew: true });
  ready(welcome({ resume_token: "once" }));
  FakeSocket.last.drop();
  clock.advance(500);
  client.ask("by the token");
  assert.equal(ready(welcome({ caller: "session" })).queries().length, 1);
  const old = callerOf("ann");
  old.ask("to an old server");
  assert.equal(ready().queries().length, 1);
});

test("docs/client.md lists the methods of the client, and no others", () => {
  const page = readFileSync(new URL("../../docs/client.md", import.meta.url), "utf8");
  const table = page.slice(page.indexOf("| method |"), page.indexOf("| event |"));
  const cells = table.split("\n").map((row) => row.split("|")[1] ?? "");
  const listed = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)\(/g)].map(([, name]) => name));
  const { constructor: _, ...members } = Object.getOwnPropertyDescriptors(AgentClient.prototype);
  const methods = Object.keys(members).filter((name) => members[name].value);
  assert.deepEqual(listed.toSorted(), methods.toSorted());
});
