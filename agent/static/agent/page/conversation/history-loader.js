// @ts-check
// Loads the history of a conversation while its reader scrolls up, and keeps the reader's position.

/** The distance from the top at which the next page is loaded, in pixels. */
const NEAR_PX = 1_200;

export class HistoryLoader {
  #scroller;
  #list;
  #load;
  #loading = false;
  #abort = new AbortController();

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list of the messages
   * @param {() => Promise<boolean>} load false: there is no earlier page, or it cannot be loaded now
   */
  constructor(scroller, list, load) {
    this.#scroller = scroller;
    this.#list = list;
    this.#load = load;
    const { signal } = this.#abort;
    scroller.addEventListener("scroll", () => void this.check(), { signal, passive: true });
  }

  /** Removes its listeners. */
  dispose() {
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

  /** Changes the list without moving the messages in sight. @param {() => void} change */
  keepPosition(change) {
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
