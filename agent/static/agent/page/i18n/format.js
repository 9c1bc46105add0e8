// @ts-check
// Formats states, ends, times and numbers for a reader. No DOM.

import { LOCALE, t } from "./translate.js";

/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/transcript/entries.js").Usage} Usage */
/** @typedef {import("../../client/connection/connection.js").ConnectionState} ConnectionState */

/**
 * @typedef {object} Delivery how far the queries of the outbox are
 * @property {Set<string>} sent ids that were sent on this connection
 * @property {boolean} isPaused the server accepts none for a while
 * @property {(id: string) => boolean} neverSent the server cannot have it, so it can be taken back
 */

// made once: making one takes as long as rendering a message
const HOUR = new Intl.DateTimeFormat(LOCALE, { hour: "numeric", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "medium" });
const COST = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 2 });

/** The server's messages when it closes a session that was not used. */
const UNUSED = new Set(["Session closed due to inactivity", "Session timeout"]);

/**
 * The text about the connection in the strip above the composer.
 *
 * @param {ConnectionState} state
 * @param {number} unsent queries that wait for a connection
 * @param {number} now ms since the epoch
 */
export function formatConnection(state, unsent, now) {
  const waiting = unsent ? t("queue", { n: unsent }) : "";
  const seconds = secondsUntil(state.retryAt, now);
  switch (state.reason) {
    case "offline":
      return waiting ? t("youAreOfflineWaiting", { waiting }) : t("youAreOffline");
    case "restarting":
      return joined(t("restarting"), waiting);
    case "limited":
      return joined(state.message || t("tooManyConnections"), formatRetry(seconds), waiting);
    case "closed":
      if (UNUSED.has(state.message)) return t("closedUnused");
      return state.message || t("closed");
    case "signed_out":
      return t("signInToContinue");
    case "forbidden":
      return state.message || t("forbidden");
    case "gone":
      return t("gone");
    case "changed":
      return t("changed");
    case "broken":
      return t("broken");
    default:
      return joined(seconds ? t("reconnectingIn", { seconds }) : t("reconnectingNow"), waiting);
  }
}

/** @param {number} seconds */
function formatRetry(seconds) {
  return seconds ? t("tryingIn", { seconds }) : t("reconnectingNow");
}

/** @param {number | null} moment ms since the epoch @param {number} now */
export function secondsUntil(moment, now) {
  return Math.max(0, Math.ceil(((moment ?? now) - now) / 1000));
}

/** The same as a short label, for the dot. @param {ConnectionState} state */
export function connectionLabel({ phase, reason }) {
  if (phase === "ready") return t("connected");
  if (phase === "stopped") return t("notConnected");
  if (reason === "offline") return t("offline");
  return reason ? t("reconnecting") : t("connecting");
}

/** @param {string[]} texts */
function joined(...texts) {
  return texts.filter(Boolean).join(" · ");
}

/** @param {number | null} position */
export function formatPosition(position) {
  if (position === null) return t("waiting");
  return position === 1 ? t("nextInLine") : t("numberInLine", { position });
}

/**
 * The state of a query that the server has not acknowledged, which is also the name of its label.
 *
 * @param {import("../../client/outbox/outbox.js").Unsent} entry
 * @param {Delivery} delivery
 */
export function unsentState({ id, stopped }, { sent, isPaused }) {
  if (stopped) return "stopping";
  if (sent.has(id)) return "sending";
  return isPaused ? "paused" : "unsent";
}

/**
 * Whether an unsent query can still be edited or removed: the server cannot have it.
 *
 * @param {import("../../client/outbox/outbox.js").Unsent} entry
 * @param {Delivery} delivery
 */
export function canTakeBack({ id, stopped }, { neverSent }) {
  return !stopped && neverSent(id);
}

/** Why an answer is incomplete, if it is. @param {Turn} turn */
export function formatEnding({ answer }) {
  if (answer?.isEmpty) return ""; // its content says why
  switch (answer?.finishReason) {
    case "cancelled":
      return t(answer.content ? "stopped" : "neverAnswered");
    case "interrupted":
      return t("interrupted");
    case "length":
      return t("lengthReached");
    case "content_filter":
      return t("contentFilter");
    default:
      return answer?.content === "" ? t("emptyAnswer") : "";
  }
}

/** @param {number} seconds a whole number */
export function formatDuration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (!minutes) return t("seconds", { seconds });
  return t("minutes", { minutes, seconds: seconds % 60 });
}

/** How long the model reasoned. @param {number | null} ms null: unknown */
export function formatReasoningTime(ms) {
  if (ms === null) return t("thought");
  return t("thoughtFor", { time: formatDuration(Math.max(1, Math.round(ms / 1000))) });
}

/** Tokens and cost, if they are known. @param {Usage | null} usage */
export function formatUsage(usage) {
  const { prompt_tokens: prompt, completion_tokens: completion, cost } = usage ?? {};
  const tokens =
    typeof prompt === "number" && typeof completion === "number"
      ? t("usage", { prompt, n: completion })
      : "";
  return joined(tokens, typeof cost === "number" && cost > 0 ? formatCost(cost) : "");
}

/** The model, tokens and cost in a sentence. @param {string | null} model @param {Usage | null} usage */
export function formatUsageDetails(model, usage) {
  const unknown = t("unknown");
  const { prompt_tokens, completion_tokens, cost } = usage ?? {};
  return t("details", {
    model: model ?? unknown,
    prompt: prompt_tokens ?? unknown,
    completion: completion_tokens ?? unknown,
    cost: typeof cost === "number" ? formatCost(cost) : unknown,
  });
}

/** @param {number} cost */
function formatCost(cost) {
  if (cost === 0) return t("free");
  return t("cost", { cost: COST.format(cost) });
}

/** @param {number} left how many characters may still be typed @param {number} excess */
export function formatLength(left, excess) {
  return excess ? t("tooLongBy", { n: excess }) : t("charactersLeft", { n: left });
}

/** The time of day, in the reader's time zone. @param {string} timestamp ISO 8601 */
export function formatTime(timestamp) {
  return HOUR.format(new Date(timestamp));
}

/** @param {string} timestamp ISO 8601 */
export function formatMoment(timestamp) {
  return MOMENT.format(new Date(timestamp));
}

/**
 * A day, for a divider between messages.
 *
 * @param {string} timestamp ISO 8601
 * @param {Date} now
 */
export function formatDay(timestamp, now) {
  const day = new Date(timestamp);
  if (day.toDateString() === now.toDateString()) return t("today");
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (day.toDateString() === yesterday.toDateString()) return t("yesterday");
  const sameYear = day.getFullYear() === now.getFullYear();
  const year = /** @type {"numeric" | undefined} */ (sameYear ? undefined : "numeric");
  return day.toLocaleDateString(LOCALE, { weekday: "long", day: "numeric", month: "long", year });
}
