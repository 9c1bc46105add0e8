// @ts-check
// Whether and when to connect again after a close. Pure: a function of the close code, of the
// attempts so far and of the delay that the server asked for. Opens no socket, sets no timer.

/** @typedef {"lost" | "restarting" | "limited"} PassingReason */
/** @typedef {"closed" | "broken" | "signed_out" | "forbidden" | "gone" | "changed"} FinalReason */
/** @typedef {{again: true, reason: PassingReason, delayMs: number}} Again */
/** @typedef {{again: false, reason: FinalReason}} Never */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const LIMITED_DELAY_SECONDS = 10;

/**
 * Close codes after which the client does not reconnect until a person asks for it.
 *
 * @type {Record<number, FinalReason>}
 */
const FINAL = {
  1000: "closed",
  4400: "broken",
  4401: "signed_out",
  4403: "forbidden",
  4404: "gone",
};

/**
 * The next step after a close.
 *
 * @param {number} code close code
 * @param {object} circumstances
 * @param {number} circumstances.tries failed attempts since the connection was last stable
 * @param {boolean} [circumstances.draining] the server announced its restart
 * @param {number | null} [circumstances.retryAfter] seconds that the server asked for
 * @param {() => number} [circumstances.random] 0 to 1
 * @returns {Again | Never}
 */
export function afterClose(
  code,
  { tries, draining = false, retryAfter = null, random = Math.random },
) {
  const final = FINAL[code];
  if (final) return { again: false, reason: final };
  const backoff = backoffMs(tries, random);
  if (code === 4429) {
    const asked = (retryAfter ?? LIMITED_DELAY_SECONDS) * 1000;
    return { again: true, reason: "limited", delayMs: Math.max(asked, backoff) };
  }
  if (code === 4503 || draining) {
    // the server's retry_after has its own jitter
    return {
      again: true,
      reason: "restarting",
      delayMs: Math.max((retryAfter ?? 0) * 1000, backoff),
    };
  }
  return { again: true, reason: "lost", delayMs: backoff };
}

/**
 * Exponential backoff; the half of each delay is random, so that clients do not reconnect in step.
 *
 * @param {number} tries
 * @param {() => number} random
 */
function backoffMs(tries, random) {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** tries);
  return Math.round(longest * (0.5 + random() / 2));
}
