// Fakes for the tests of the client: a socket, a clock, and frames.

/** A WebSocket that the test drives. */
export class FakeSocket {
  static all = [];
  readyState = 0;
  sent = [];

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  static get last() {
    return FakeSocket.all.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.readyState = 3;
    this.closedWith = code;
  }

  receive(...frames) {
    this.readyState = 1;
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  drop(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  queries() {
    return this.sent.filter((frame) => frame.type === "query");
  }

  commands(name) {
    return this.sent.filter((frame) => frame.type === "command" && frame.content === name);
  }
}

/** A clock that stands still until the test moves it. */
export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #ids = 0;

  now = () => this.#now;

  setTimeout = (callback, ms) => {
    this.#ids += 1;
    this.#timers.set(this.#ids, { callback, at: this.#now + ms });
    return this.#ids;
  };

  clearTimeout = (id) => void this.#timers.delete(id);

  advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end);
      if (!due.length) break;
      due.sort(([, a], [, b]) => a.at - b.at);
      const [id, { callback, at }] = due[0];
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, at);
      callback();
    }
    this.#now = end;
  }
}

export const SESSION = "7c0e0000-0000-4000-8000-000000000000";

export function welcome(fields = {}) {
  return {
    type: "notification",
    event: "connected",
    session: SESSION,
    last_seq: 0,
    replay_from: 0,
    heartbeat: 25,
    limits: { query_chars: 100, frame_bytes: 262144, queue: 20 },
    turns: [],
    ...fields,
  };
}

export const READY = { type: "status", status: "ready", content: "Ready" };

export function query(seq, turn, ref, content = `question ${turn}`) {
  return {
    type: "query",
    seq,
    id: `m${seq}`,
    turn,
    ref,
    content,
    timestamp: "2026-01-01T00:00:00Z",
  };
}

export function response(seq, turn, ref, content = `answer ${turn}`, fields = {}) {
  const timestamp = "2026-01-01T00:00:01Z";
  return {
    type: "response",
    seq,
    id: `m${seq}`,
    turn,
    ref,
    content,
    timestamp,
    finish_reason: "stop",
    ...fields,
  };
}

export function status(name, turn, fields = {}) {
  return { type: "status", status: name, turn, content: name, ...fields };
}

export function delta(turn, first, index, content, fields = {}) {
  return { type: "delta", turn, attempt: 1, first, index, content, ...fields };
}

export function reasoning(turn, first, index, content, fields = {}) {
  return { ...delta(turn, first, index, content, fields), type: "reasoning" };
}

export function note(seq, content, fields = {}) {
  return {
    type: "notification",
    event: "message",
    level: "info",
    id: `n${seq}`,
    seq,
    content,
    timestamp: "2026-01-01T00:00:02Z",
    ...fields,
  };
}
