// @ts-check
// The text of a running answer, put together from deltas and snapshots. Pure.
// Rules: "Deltas" in docs/protocol.md. This text is a preview; the `response` frame is the truth.

/**
 * @typedef {object} StreamedText the text that has arrived so far
 * @property {number} attempt
 * @property {number} index of the last piece in `content`; -1: none
 * @property {string} content
 */

/** @typedef {{text: StreamedText, gap: boolean}} Assembled */

/**
 * @param {number} attempt
 * @returns {StreamedText}
 */
export function emptyText(attempt) {
  return { attempt, index: -1, content: "" };
}

/**
 * The text after a delta frame.
 *
 * @param {StreamedText} text
 * @param {{attempt: number, first?: number | null, index: number, content: string,
 *   snapshot?: boolean | null}} frame
 * @returns {Assembled} the same `text` when the frame adds nothing; `gap`: pieces in between are
 *   missing, so send the command `resume`
 */
export function assemble(text, frame) {
  if (frame.attempt < text.attempt) return { text, gap: false };
  const base = frame.attempt > text.attempt ? emptyText(frame.attempt) : text;
  if (frame.index <= base.index) return { text: base, gap: false };
  const { attempt, index, content } = frame;
  if (frame.snapshot) return { text: { attempt, index, content }, gap: false };
  // a frame that overlaps the text cannot be cut, so it counts as a gap too
  if ((frame.first ?? index) !== base.index + 1) return { text: base, gap: true };
  return { text: { attempt, index, content: base.content + content }, gap: false };
}
