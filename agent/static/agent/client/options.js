// @ts-check
// What an AgentClient is made with and what it tells. Types only.

/** @typedef {import("./transcript/entries.js").Frame} Frame */
/** @typedef {import("./transcript/entries.js").Turn} Turn */
/** @typedef {import("./storage.js").Store} Store */

/**
 * @typedef {object} Options
 * @property {string} url of the WebSocket, without query: `wss://example.org/ws/agent/`
 * @property {string | null} [session] the session to resume; none: a new one
 * @property {number} [tail] how many durable frames to load of a session that is not held yet;
 *   `loadOlder` gets more; none: all
 * @property {string | null} [token] a bearer token, for pages of another origin and programs
 * @property {string} [caller] who calls, as page and welcome name them: unsent queries are kept
 *   under it, and go out on no connection whose welcome names another; none: as the first welcome
 * @property {boolean} [callerIsNew] a cookie that may not have been taken makes them this caller
 * @property {Store} [local] where unsent queries outlive the page
 * @property {Store} [tab] where they are before the session has a name
 * @property {typeof WebSocket} [WebSocket]
 * @property {import("./connection/connection.js").Clock} [clock]
 * @property {() => number} [random]
 */

/**
 * `change`: the connection, the transcript or the outbox; draw again. `welcome`: a connection's
 * first frame. `session`: the session is
 * now worth an address of its own. `ended`: a turn ended while we watched. `withdrawn`: the texts
 * of queries that were stopped before they were answered. `problem`: an error about a frame that
 * was not a query.
 *
 * @typedef {{change: null, welcome: Frame, session: string, ended: Turn, withdrawn: string[],
 *   problem: Frame}} ClientEvents
 */

export {};
