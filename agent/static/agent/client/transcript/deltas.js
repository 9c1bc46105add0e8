// @ts-check
// The text of a running answer, put together from deltas and snapshots. Pure.
// Rules: "Deltas" in docs/protocol.md. The `response` frame is the truth; this is the preview.

/**
 * @typedef {object} Held what a client holds of a running answer
 * @property {number} attempt
 * @property {number} index the last piece that is in `content`; -1: none
 * @property {string} content
 */

/** @typedef {{held: Held, hole: boolean}} Assembled */

/**
 * @param {number} attempt
 * @returns {Held}
 */
export function nothingOf(attempt) {
  return { attempt, index: -1, content: "" };
}

/**
 * What is held after a delta frame.
 *
 * @param {Held} held
 * @param {{attempt: number, first?: number | null, index: number, content: string,
 *   snapshot?: boolean | null}} frame
 * @returns {Assembled} the same `held` when the frame adds nothing; `hole`: pieces between are
 *   missing, so send the command `resume`
 */
export function assemble(held, frame) {
  if (frame.attempt < held.attempt) return { held, hole: false };
  const base = frame.attempt > held.attempt ? nothingOf(frame.attempt) : held;
  if (frame.index <= base.index) return { held: base, hole: false };
  const { attempt, index, content } = frame;
  if (frame.snapshot) return { held: { attempt, index, content }, hole: false };
  // a frame that overlaps what is held cannot be cut, so it counts as a hole too
  if ((frame.first ?? index) !== base.index + 1) return { held: base, hole: true };
  return { held: { attempt, index, content: base.content + content }, hole: false };
}
