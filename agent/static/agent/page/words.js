// @ts-check
// The page's words and how it writes times and numbers. No DOM.

/** @typedef {import("../client/entries.js").Turn} Turn */
/** @typedef {import("../client/connection.js").ConnectionState} ConnectionState */

/** @param {number} count @param {string} one @param {string} many */
function counted(count, one, many) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

const NOT_USED = "This conversation was closed because it was not used.";
/** What the server says about a close, for people. @type {Record<string, string>} */
const CLOSED = { "Session closed due to inactivity": NOT_USED, "Session timeout": NOT_USED };

/**
 * What the strip above the composer says about the connection.
 *
 * @param {ConnectionState} state
 * @param {number} unsent queries that wait for a connection
 * @param {number} now ms since the epoch
 */
export function connectionWords(state, unsent, now) {
  const waiting = unsent ? counted(unsent, "message waiting", "messages waiting") : "";
  const seconds = Math.max(0, Math.ceil(((state.retryAt ?? now) - now) / 1000));
  switch (state.reason) {
    case "offline":
      return waiting ? `You are offline; ${waiting}` : "You are offline";
    case "restarting":
      return joined("Server is restarting", waiting);
    case "limited":
      return joined(state.words, seconds ? `Trying again in ${seconds} s` : "Connecting…", waiting);
    case "closed":
      return CLOSED[state.words] ?? (state.words || "This conversation is closed.");
    case "signed_out":
      return "Sign in to continue";
    case "forbidden":
      return state.words || "You may not use this conversation.";
    case "gone":
      return "This conversation does not exist, or it is not yours.";
    case "broken":
      return "This page does not understand the server any more. Reload it to continue.";
    default:
      return joined(seconds ? `Reconnecting in ${seconds} s` : "Reconnecting…", waiting);
  }
}

/** The same in a word or two, for the dot. @param {ConnectionState} state */
export function connectionLabel({ phase, reason }) {
  if (phase === "ready") return "Connected";
  if (phase === "stopped") return "Not connected";
  if (reason === "offline") return "Offline";
  return reason ? "Reconnecting" : "Connecting";
}

/** @param {string[]} parts */
function joined(...parts) {
  return parts.filter(Boolean).join(" · ");
}

/** @param {number | null} position */
export function waitingWords(position) {
  if (position === null) return "Waiting";
  return position === 1 ? "Waiting, next in line" : `Waiting, number ${position} in line`;
}

/** Why an answer is not whole, if it is not. @param {Turn} turn */
export function endingWords({ answer }) {
  switch (answer?.finishReason) {
    case "cancelled":
      return answer.content ? "Stopped" : "Stopped before it was answered";
    case "interrupted":
      return "Interrupted by the next message";
    case "length":
      return "Cut off: the answer reached its length limit";
    case "content_filter":
      return "Cut off by the provider's content filter";
    default:
      return "";
  }
}

/** @param {number} left how many characters may still be typed @param {number} excess */
export function lengthWords(left, excess) {
  if (excess) return `Too long by ${counted(excess, "character", "characters")}`;
  return `${counted(left, "character", "characters")} left`;
}

/**
 * A moment in the reader's own time: the hour, and the day unless it is today.
 *
 * @param {string} timestamp ISO 8601
 * @param {Date} now
 */
export function shortTime(timestamp, now) {
  const moment = new Date(timestamp);
  const time = moment.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
  if (moment.toDateString() === now.toDateString()) return time;
  const sameYear = moment.getFullYear() === now.getFullYear();
  const year = /** @type {"numeric" | undefined} */ (sameYear ? undefined : "numeric");
  return `${moment.toLocaleDateString([], { day: "numeric", month: "short", year })}, ${time}`;
}

/** @param {string} timestamp ISO 8601 */
export function longTime(timestamp) {
  return new Date(timestamp).toLocaleString([], { dateStyle: "full", timeStyle: "medium" });
}

export const WORDS = {
  you: "You",
  staff: "Staff",
  thinking: "Thinking…",
  sending: "Sending…",
  unsent: "Waiting for the connection",
  notSent: "Not sent.",
  sendAgain: "Send again",
  edit: "Edit",
  retryNow: "Retry now",
  continue: "Continue",
  newChat: "New chat",
  tryAgain: "Try again",
  signIn: "Sign in",
  reload: "Reload",
  connected: "Connected again",
  emptyAnswer: "The answer is empty.",
};
