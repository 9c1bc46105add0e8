// Stop, and sending a waiting question now, on connections that break in the middle of it.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { AgentClient } from "../../agent/static/agent/client/client.js";
import { memoryStore } from "../../agent/static/agent/client/storage.js";
import * as fakes from "./fakes.mjs";

const { FakeClock, FakeSocket, READY, SESSION, query, response, status, welcome } = fakes;

const RUNNING = [query(1, "t1", "r1"), status("thinking", "t1", { attempt: 1 })];
const WAITING = [query(2, "t2", "r2", "second"), status("queued", "t2", { position: 1 })];
const CANCELLED = { finish_reason: "cancelled" };

let clock;
let local;
let returned;

beforeEach(() => {
  FakeSocket.all = [];
  clock = new FakeClock();
  local = memoryStore();
  returned = [];
});

/** A page that shows the session. */
function open() {
  const wiring = { local, clock, random: () => 1, WebSocket: FakeSocket };
  const client = new AgentClient({ url: "ws://example.org/", session: SESSION, ...wiring });
  client.on("returned", (texts) => returned.push(...texts));
  client.connect();
  return client;
}

function ready(...frames) {
  FakeSocket.last.receive(welcome({ last_seq: frames.at(-1)?.seq ?? 0 }), ...frames, READY);
  return FakeSocket.last;
}

async function reconnect(...frames) {
  FakeSocket.last.drop();
  await settled();
  clock.advance(500);
  return ready(...frames);
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const cancels = (socket) => socket.commands("cancel").map(({ args }) => args);

/** Answers all cancel commands as a server that does not know the `ref`. */
async function answerMissing(socket) {
  for (const { id, args } of socket.commands("cancel")) {
    const missing = { type: "error", code: "not_found", retryable: false, content: "Not found." };
    socket.receive({ ...(args.ref ? missing : status("done")), ref: id });
  }
  await settled();
}

/** Two queries went into a dying socket, and then somebody pressed Stop. */
function stopUnconfirmed() {
  const client = open();
  ready(...RUNNING);
  const ids = [client.ask("one"), client.ask("two")];
  client.stop();
  return { client, ids };
}

test("an unacknowledged query that was stopped is not sent again, and its text is returned", async () => {
  const { client, ids } = stopUnconfirmed();
  const socket = await reconnect(response(2, "t1", "r1"));
  assert.deepEqual(socket.queries(), []);
  const asked = ids.map((ref) => ({ ref }));
  assert.deepEqual(cancels(socket), [{ all: true }, ...asked]);
  assert.deepEqual(returned, []);
  await answerMissing(socket);
  assert.deepEqual(returned, ["one", "two"]);
  assert.deepEqual([client.outbox.entries, local.keys("")], [[], []]);
  assert.deepEqual((await reconnect()).queries(), []);
});

test("the stop of an unacknowledged query survives a reload", async () => {
  stopUnconfirmed();
  FakeSocket.last.drop();
  open();
  const socket = ready(...RUNNING);
  assert.deepEqual(socket.queries(), []);
  assert.equal(cancels(socket).length, 2);
  await answerMissing(socket);
  assert.deepEqual(returned, ["one", "two"]);
});

test("a stopped query that had arrived is cancelled, and its text is returned unless it was answered", async () => {
  const { client, ids } = stopUnconfirmed();
  const arrived = [query(2, "t2", ids[0], "one"), query(3, "t3", ids[1], "two")];
  const socket = await reconnect(...arrived, response(4, "t2", ids[0], "an answer"));
  assert.deepEqual(socket.queries(), []);
  assert.ok(cancels(socket).some(({ turn }) => turn === "t3"));
  socket.receive(response(5, "t3", ids[1], "", CANCELLED));
  assert.deepEqual(returned, ["two"]);
  assert.deepEqual(client.outbox.entries, []);
});

test("a query that a dying socket delivers after its text was returned is cancelled too", async () => {
  const { ids } = stopUnconfirmed();
  const socket = await reconnect(response(2, "t1", "r1"));
  await answerMissing(socket);
  socket.receive(query(3, "t3", ids[0], "one"));
  assert.deepEqual(cancels(socket).at(-1), { turn: "t3" });
  socket.receive(response(4, "t3", ids[0], "", CANCELLED));
  assert.deepEqual(returned, ["one", "two"]);
});

test("the text of a refused query that was stopped is returned without a problem event", async () => {
  const { client, ids } = stopUnconfirmed();
  const problems = [];
  client.on("problem", (problem) => problems.push(problem));
  const socket = FakeSocket.last;
  for (const ref of ids)
    socket.receive({ type: "error", code: "queue_full", ref, content: "Full." });
  await answerMissing(socket);
  assert.deepEqual(returned, ["one", "two"]);
  assert.deepEqual(problems, []);
});

test("a stop whose cancel command was lost is repeated on the next connection", async () => {
  const { ids } = stopUnconfirmed();
  (await reconnect(response(2, "t1", "r1"))).drop();
  await settled();
  clock.advance(1_000);
  const socket = ready();
  assert.deepEqual(
    cancels(socket).filter(({ ref }) => ref),
    ids.map((ref) => ({ ref })),
  );
});

/** Somebody presses Send now on a waiting question while there is no connection. */
function sendNowOffline() {
  const client = open();
  ready(...RUNNING, ...WAITING);
  FakeSocket.last.drop();
  client.sendNow("t2");
  client.sendNow("t2"); // impatient
  return client;
}

const BACK = [{ turn: "t2", ref: "r2", state: "queued", position: 1 }];

test("a question sent now without a connection is asked once, in place of the waiting turn", () => {
  const client = sendNowOffline();
  const [{ id }] = client.outbox.entries;
  FakeSocket.all = [];
  open(); // the page was loaded again
  const socket = ready(...RUNNING, ...WAITING);
  assert.deepEqual(
    socket.queries().map((one) => [one.id, one.content, one.on_busy]),
    [[id, "second", "interrupt"]],
  );
  assert.deepEqual(cancels(socket), [{ turn: "t2" }]);
  const order = socket.sent.map(({ type }) => type);
  assert.ok(order.indexOf("command") < order.indexOf("query"));
});

for (const [name, frames] of [
  ["runs", [...RUNNING, ...WAITING, status("thinking", "t2", { attempt: 1 })]],
  ["was answered", [...RUNNING, ...WAITING, response(3, "t2", "r2", "an answer")]],
]) {
  test(`a question sent now without a connection is not asked again if it ${name} meanwhile`, () => {
    sendNowOffline();
    const client = open();
    const socket = ready(...frames);
    assert.deepEqual(socket.queries(), []);
    assert.deepEqual(cancels(socket), []);
    assert.deepEqual([client.outbox.entries, local.keys("")], [[], []]);
  });
}

test("a question sent now is asked even if only the cancel command before it arrived", async () => {
  const client = sendNowOffline();
  clock.advance(500);
  const [{ id }] = client.outbox.entries;
  FakeSocket.last.receive(welcome({ last_seq: 2, replay_from: 2, turns: BACK }), READY);
  assert.equal(FakeSocket.last.queries().length, 1);
  const socket = await reconnect(response(3, "t2", "r2", "", CANCELLED));
  assert.deepEqual(
    socket.queries().map((one) => one.id),
    [id],
  );
});

test("stop returns the text of a question to be sent now once", () => {
  const client = sendNowOffline();
  client.stop();
  clock.advance(500);
  const socket = ready(response(3, "t2", "r2", "", CANCELLED));
  assert.deepEqual(returned, ["second"]);
  assert.deepEqual(socket.queries(), []);
});
