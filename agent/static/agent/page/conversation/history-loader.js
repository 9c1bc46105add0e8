// @ts-check
// Loads older pages of a conversation while its reader scrolls up, and keeps what is read in place.

/** How far from the top the next page is asked for, in pixels. */
const NEAR_PX = 1_200;

export class Older {
  #scroller;
  #list;
  #load;
  #loading = false;
  #abort = new AbortController();

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list of what is read
   * @param {() => Promise<boolean>} load false: there is nothing more, or not now
   */
  constructor(scroller, list, load) {
    this.#scroller = scroller;
    this.#list = list;
    this.#load = load;
    const { signal } = this.#abort;
    scroller.addEventListener("scroll", () => void this.check(), { signal, passive: true });
  }

  release() {
    this.#abort.abort();
  }

  /** Loads a page if the top is near. */
  async check() {
    if (this.#loading || this.#scroller.scrollTop > NEAR_PX) return;
    this.#loading = true;
    const loaded = await this.#load();
    this.#loading = false;
    if (loaded) requestAnimationFrame(() => void this.check());
  }

  /** Changes the list, and leaves what is in sight where it is. @param {() => void} change */
  keepPlace(change) {
    const anchor = this.#anchor();
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    if (!anchor?.isConnected) return;
    const moved = anchor.getBoundingClientRect().top - before;
    if (Math.abs(moved) >= 1) this.#scroller.scrollTop += moved;
  }

  /** The first message in sight. */
  #anchor() {
    const { top } = this.#scroller.getBoundingClientRect();
    for (const element of this.#list.children) {
      if (element.getBoundingClientRect().bottom > top) return element;
    }
    return null;
  }
}
