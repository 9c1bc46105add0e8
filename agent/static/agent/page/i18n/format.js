// @ts-check
// How the page says what happens: states, ends and times in words. No DOM.

import { LOCALE, t } from "./translate.js";

/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/transcript/entries.js").Usage} Usage */
/** @typedef {import("../../client/connection/connection.js").ConnectionState} ConnectionState */

// made once: making one takes as long as drawing a message
const HOUR = new Intl.DateTimeFormat(LOCALE, { hour: "numeric", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "medium" });
const COST = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 2 });

/** What the server says when it closes a session that was not used. */
const UNUSED = new Set(["Session closed due to inactivity", "Session timeout"]);

/**
 * What the strip above the composer says about the connection.
 *
 * @param {ConnectionState} state
 * @param {number} unsent queries that wait for a connection
 * @param {number} now ms since the epoch
 */
export function connectionWords(state, unsent, now) {
  const waiting = unsent ? t("queue", { n: unsent }) : "";
  const seconds = secondsUntil(state.retryAt, now);
  switch (state.reason) {
    case "offline":
      return waiting ? t("youAreOfflineWaiting", { waiting }) : t("youAreOffline");
    case "restarting":
      return joined(t("restarting"), waiting);
    case "limited":
      return joined(state.words || t("tooManyConnections"), tryingWords(seconds), waiting);
    case "closed":
      if (UNUSED.has(state.words)) return t("closedUnused");
      return state.words || t("closed");
    case "signed_out":
      return t("signInToContinue");
    case "forbidden":
      return state.words || t("forbidden");
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
function tryingWords(seconds) {
  return seconds ? t("tryingIn", { seconds }) : t("reconnectingNow");
}

/** @param {number | null} moment ms since the epoch @param {number} now */
export function secondsUntil(moment, now) {
  return Math.max(0, Math.ceil(((moment ?? now) - now) / 1000));
}

/** The same in a word or two, for the dot. @param {ConnectionState} state */
export function connectionLabel({ phase, reason }) {
  if (phase === "ready") return t("connected");
  if (phase === "stopped") return t("notConnected");
  if (reason === "offline") return t("offline");
  return reason ? t("reconnecting") : t("connecting");
}

/** @param {string[]} parts */
function joined(...parts) {
  return parts.filter(Boolean).join(" · ");
}

/** @param {number | null} position */
export function waitingWords(position) {
  if (position === null) return t("waiting");
  return position === 1 ? t("nextInLine") : t("numberInLine", { position });
}

/**
 * Where a query is that the server has not confirmed: the state of its element, which is also the
 * name of the word for it.
 *
 * @param {import("../../client/outbox/outbox.js").Unsent} entry
 * @param {boolean} onItsWay it went out on this connection
 */
export function unsentState({ stopped }, onItsWay) {
  if (stopped) return "stopping";
  return onItsWay ? "sending" : "unsent";
}

/** Why an answer is not whole, if it is not. @param {Turn} turn */
export function endingWords({ answer }) {
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

/** A span of time. @param {number} seconds whole ones */
export function spanWords(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (!minutes) return t("seconds", { seconds });
  return t("minutes", { minutes, seconds: seconds % 60 });
}

/** How long the model thought. @param {number | null} ms null: nobody knows */
export function thoughtWords(ms) {
  if (ms === null) return t("thought");
  return t("thoughtFor", { time: spanWords(Math.max(1, Math.round(ms / 1000))) });
}

/** Tokens and cost in short, if they are known. @param {Usage | null} usage */
export function usageWords(usage) {
  const { prompt_tokens: prompt, completion_tokens: completion, cost } = usage ?? {};
  const tokens =
    typeof prompt === "number" && typeof completion === "number"
      ? t("usage", { prompt, completion })
      : "";
  return joined(tokens, typeof cost === "number" && cost > 0 ? costWords(cost) : "");
}

/** All that is known of it, in a sentence. @param {string | null} model @param {Usage | null} usage */
export function usageDetails(model, usage) {
  const unknown = t("unknown");
  const { prompt_tokens, completion_tokens, cost } = usage ?? {};
  return t("details", {
    model: model ?? unknown,
    prompt: prompt_tokens ?? unknown,
    completion: completion_tokens ?? unknown,
    cost: typeof cost === "number" ? costWords(cost) : unknown,
  });
}

/** @param {number} cost */
function costWords(cost) {
  if (cost === 0) return t("free");
  return t("cost", { cost: COST.format(cost) });
}

/** @param {number} left how many characters may still be typed @param {number} excess */
export function lengthWords(left, excess) {
  return excess ? t("tooLongBy", { n: excess }) : t("charactersLeft", { n: left });
}

/** The hour of a moment, in the reader's own time. @param {string} timestamp ISO 8601 */
export function shortTime(timestamp) {
  return HOUR.format(new Date(timestamp));
}

/** @param {string} timestamp ISO 8601 */
export function longTime(timestamp) {
  return MOMENT.format(new Date(timestamp));
}

/**
 * A day, as a divider says it.
 *
 * @param {string} timestamp ISO 8601
 * @param {Date} now
 */
export function dayWords(timestamp, now) {
  const day = new Date(timestamp);
  if (day.toDateString() === now.toDateString()) return t("today");
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (day.toDateString() === yesterday.toDateString()) return t("yesterday");
  const sameYear = day.getFullYear() === now.getFullYear();
  const year = /** @type {"numeric" | undefined} */ (sameYear ? undefined : "numeric");
  return day.toLocaleDateString(LOCALE, { weekday: "long", day: "numeric", month: "long", year });
}
