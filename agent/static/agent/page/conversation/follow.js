// @ts-check
// Keeps the end of the conversation in sight while the reader is there; otherwise shows a button that
// leads to the end. Knows nothing of the messages.

/** Within this distance the button is not needed, in pixels. */
const NEAR_PX = 80;
/** Within this distance the reader has come back to the end. */
const AT_END_PX = 4;

/**
 * @param {HTMLElement} scroller
 * @param {HTMLElement} content grows inside of the scroller
 * @param {HTMLButtonElement} button "Jump to latest"
 * @returns {{scrollToEnd: () => void}}
 */
export function followEnd(scroller, content, button) {
  let following = true;
  let top = scroller.scrollTop;

  const distance = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  const show = () => {
    button.hidden = following || distance() < NEAR_PX;
  };
  const keepEnd = () => {
    if (following) {
      scroller.scrollTop = scroller.scrollHeight;
      top = scroller.scrollTop;
    }
    show();
  };
  const scrollToEnd = () => {
    following = true;
    keepEnd();
  };

  scroller.addEventListener("scroll", () => {
    // the event comes a frame late: the text may have grown since, without any scrolling
    const wentUp = scroller.scrollTop < top;
    if (wentUp) following = false;
    else if (distance() < AT_END_PX) following = true;
    top = scroller.scrollTop;
    show();
  });
  // the wheel turned upwards stops following, even while the text grows faster than the wheel turns
  scroller.addEventListener(
    "wheel",
    ({ deltaY }) => {
      if (deltaY < 0 && scroller.scrollTop > 0) following = false;
    },
    { passive: true },
  );
  button.addEventListener("click", () => {
    scrollToEnd();
    scroller.focus({ preventScroll: true }); // the button disappears
  });
  const sizes = new ResizeObserver(keepEnd);
  sizes.observe(content);
  sizes.observe(scroller);
  return { scrollToEnd };
}
