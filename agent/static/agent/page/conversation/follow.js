// @ts-check
// Keeps the end of the conversation in sight, for a reader who is there already; everybody else
// gets a button. Scrolls, and knows nothing of what is shown.

/** How far from the end still counts as there, in pixels. */
const NEAR_PX = 80;

/**
 * @param {HTMLElement} scroller
 * @param {HTMLElement} content grows inside of the scroller
 * @param {HTMLButtonElement} button "Jump to latest"
 * @returns {{toEnd: () => void}}
 */
export function followEnd(scroller, content, button) {
  let following = true;
  let top = scroller.scrollTop;

  const distance = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  const show = () => {
    button.hidden = following || distance() < NEAR_PX;
  };
  const stay = () => {
    if (following) {
      scroller.scrollTop = scroller.scrollHeight;
      top = scroller.scrollTop;
    }
    show();
  };
  const toEnd = () => {
    following = true;
    stay();
  };

  scroller.addEventListener("scroll", () => {
    // the event comes a frame late: the text may have grown since, and that is no reader's doing
    const wentUp = scroller.scrollTop < top;
    if (distance() < NEAR_PX) following = true;
    else if (wentUp) following = false;
    top = scroller.scrollTop;
    show();
  });
  // upwards means: let me read, also while the text grows faster than the wheel turns
  scroller.addEventListener(
    "wheel",
    ({ deltaY }) => {
      if (deltaY < 0 && scroller.scrollTop > 0) following = false;
    },
    { passive: true },
  );
  button.addEventListener("click", toEnd);
  const sizes = new ResizeObserver(stay);
  sizes.observe(content);
  sizes.observe(scroller);
  return { toEnd };
}
