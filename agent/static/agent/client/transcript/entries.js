// @ts-check
// The entries of a conversation as plain data, and how frames become entries. Pure.

import { emptyText } from "./deltas.js";

/** @typedef {import("./deltas.js").StreamedText} StreamedText */
/** @typedef {{type: string, [field: string]: any}} Frame a frame of docs/protocol.md */

/**
 * @typedef {object} Question
 * @property {string | null} id message id; null until its `query` frame has arrived
 * @property {number | null} seq of its `query` frame
 * @property {string} content
 * @property {string} timestamp
 * @property {string | null} replaces message id of the query that this one replaces, as an edit
 */

/**
 * @typedef {object} Usage null for unknown
 * @property {number | null} prompt_tokens
 * @property {number | null} completion_tokens
 * @property {number | null} cost in the provider's credits
 * @property {number | null} [reasoning_tokens] absent in answers of older servers
 * @property {number | null} [cached_tokens]
 */

/**
 * @typedef {object} Reasoning of the model before its answer; null for unknown
 * @property {number | null} ms from its first reasoning to its first text, or to the end
 * @property {number | null} tokens
 * @property {string} content text of the reasoning; empty where the server does not show it
 */

/** @typedef {{url: string, title: string}} Source a page that an answer is based on */

/**
 * @typedef {object} Answer
 * @property {string | null} id message id
 * @property {string} content
 * @property {boolean} isEmpty the model gave no text: `content` is the server's message about that
 * @property {string} timestamp
 * @property {string} finishReason `stop`, `length`, `content_filter`, `cancelled`, `interrupted`
 * @property {string | null} model
 * @property {Usage | null} usage
 * @property {Reasoning | null} reasoning null: the model did not reason, or the server keeps it secret
 * @property {Source[]} sources
 * @property {string} author `agent` or `staff`
 * @property {"up" | "down" | null} rating
 * @property {string} comment that came with the rating
 */

/**
 * @typedef {object} Failure
 * @property {string | null} id message id
 * @property {string} code
 * @property {string} content message for a person
 * @property {boolean} retryable
 * @property {number | null} retryAfter seconds after which a retry makes sense
 * @property {string} partial the text up to the failure
 * @property {string} timestamp
 * @property {string | null} model
 * @property {Usage | null} usage
 * @property {Reasoning | null} reasoning
 */

/**
 * @typedef {object} Turn
 * @property {"turn"} kind
 * @property {string} key unique and constant
 * @property {number} version grows with every change
 * @property {string} id
 * @property {string | null} ref client id of the query
 * @property {Question | null} question null while it is unknown, and in a retry
 * @property {"waiting" | "running" | "ended"} state
 * @property {number | null} position 1: next
 * @property {StreamedText} streamed the running answer so far
 * @property {StreamedText} streamedReasoning the model's reasoning for it so far
 * @property {Answer | null} answer
 * @property {Failure | null} failure
 */

/**
 * @typedef {object} Note a notification
 * @property {"note"} kind
 * @property {string} key
 * @property {number} version
 * @property {string | null} id
 * @property {string} event
 * @property {string} level `info`, `success`, `warning`, `error`
 * @property {string} content
 * @property {string} timestamp
 */

/** @typedef {Turn | Note} Entry */

/**
 * A turn of which only the id is known.
 *
 * @param {string} key
 * @param {string} id
 * @param {string | null} ref
 * @returns {Turn}
 */
export function newTurn(key, id, ref) {
  return {
    kind: "turn",
    key,
    version: 0,
    id,
    ref,
    question: null,
    state: "waiting",
    position: null,
    ...emptyStreams(0),
    answer: null,
    failure: null,
  };
}

/**
 * The streamed texts of a turn at the beginning of an attempt.
 *
 * @param {number} attempt
 */
export function emptyStreams(attempt) {
  return { streamed: emptyText(attempt), streamedReasoning: emptyText(attempt) };
}

/** @param {Frame} frame a `query` @returns {Question} */
export function questionOf({ id, seq, content, timestamp, replaces = null }) {
  return { id, seq, content, timestamp, replaces };
}

/** @param {Frame} frame a `response` @returns {Answer} */
export function answerOf(frame) {
  const { id = null, content, timestamp, finish_reason, model, usage, author } = frame;
  return {
    id,
    content,
    isEmpty: Boolean(frame.empty),
    timestamp,
    finishReason: finish_reason ?? "stop",
    model: model ?? null,
    usage: usage ?? null,
    reasoning: reasoningOf(frame),
    sources: frame.sources ?? [],
    author: author ?? "agent",
    rating: null,
    comment: "",
  };
}

/** @param {Frame} frame an `error` that ends a turn @returns {Failure} */
export function failureOf(frame) {
  const { id = null, code, content, retryable, partial, timestamp, model, usage } = frame;
  return {
    id,
    code,
    content,
    timestamp,
    retryable: Boolean(retryable),
    retryAfter: frame.retry_after ?? null,
    partial: partial ?? "",
    model: model ?? null,
    usage: usage ?? null,
    reasoning: reasoningOf(frame),
  };
}

/** @param {Frame} frame @returns {Reasoning | null} */
function reasoningOf({ reasoning }) {
  if (!reasoning) return null;
  const { ms = null, tokens = null, content } = reasoning;
  return { ms, tokens, content: content ?? "" };
}

/** @param {Frame} frame a `notification` @returns {Note} */
export function noteOf({ event, seq, id = null, level = "info", content, timestamp }) {
  const key = seq ? `note-${seq}` : `note-${id}-${timestamp}`;
  return { kind: "note", key, version: 0, id, event, level, content, timestamp };
}
