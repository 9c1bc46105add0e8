// @ts-check
// Whether the page is used with a finger. A text field that gets the focus there opens a keyboard
// over half of the page, and its Enter is the only way to a second line.

const coarse = globalThis.matchMedia?.("(pointer: coarse)");

/** The main pointer is a finger. */
export function isTouch() {
  return coarse?.matches ?? false;
}
