// @ts-check
// The options and events of an AgentClient. Types only.

/** @typedef {import("./transcript/entries.js").Frame} Frame */
/** @typedef {import("./transcript/entries.js").Turn} Turn */
/** @typedef {import("./storage.js").Store} Store */

/**
 * @typedef {object} Options
 * @property {string} url of the WebSocket, without query: `wss://example.org/ws/agent/`
 * @property {string | null} [session] the session to resume; none: a new one
 * @property {number} [tail] how many of a session's durable frames to load at first; `loadHistory`
 *   loads earlier ones; none: all
 * @property {string | null} [token] a bearer token, for pages of another origin and programs
 * @property {string} [caller] the caller, as page and welcome name them: unsent queries are kept
 *   under this name, and are not sent on a connection whose welcome names another caller; none: the
 *   caller of the first welcome
 * @property {boolean} [callerIsNew] the caller depends on a cookie that the browser may have refused
 * @property {Store} [local] where unsent queries survive the page
 * @property {Store} [tab] where they are before the session has an id
 * @property {typeof WebSocket} [WebSocket]
 * @property {import("./connection/clock.js").Clock} [clock]
 * @property {() => number} [random]
 */

/**
 * `change`: the connection, the transcript or the outbox changed; render again. `welcome`: the first
 * frame of a connection. `session`: the session is now worth an address of its own. `ended`: a turn
 * ended while it was watched. `returned`: the texts of queries that were stopped before they were
 * answered. `problem`: an error about a frame that was not a query.
 *
 * @typedef {{change: null, welcome: Frame, session: string, ended: Turn, returned: string[],
 *   problem: Frame}} ClientEvents
 */

export {};
