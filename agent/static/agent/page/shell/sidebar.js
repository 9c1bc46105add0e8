// @ts-check
// The sidebar of the page: beside the conversation where there is room, otherwise a drawer above it.

import { isTouch } from "../ui/pointer.js";

/** @typedef {import("../../client/storage.js").Store} Store */

const KEY = "agent.sidebar";

/**
 * @param {{side: HTMLElement, toggle: HTMLButtonElement, veil: HTMLElement}} elements
 * @param {Store} store
 * @returns {{closeDrawer: () => void}}
 */
export function sidebar({ side, toggle, veil }, store) {
  const narrow = window.matchMedia("(max-width: 52rem)");
  side.tabIndex = -1; // it can get the focus as a whole
  let isOpen = !narrow.matches && store.get(KEY) !== "closed";

  const show = () => {
    document.body.dataset.side = isOpen ? "open" : "closed";
    side.inert = !isOpen;
    toggle.setAttribute("aria-expanded", String(isOpen));
    veil.hidden = !(isOpen && narrow.matches);
  };
  const set = (/** @type {boolean} */ open) => {
    isOpen = open;
    if (!narrow.matches) store.set(KEY, open ? "open" : "closed");
    show();
  };
  const closeDrawer = () => {
    if (isOpen && narrow.matches) set(false);
  };

  toggle.addEventListener("click", () => {
    set(!isOpen);
    if (!isOpen || !narrow.matches) return;
    const first = isTouch() ? side : side.querySelector("input"); // the field opens a keyboard
    first?.focus();
  });
  veil.addEventListener("click", closeDrawer);
  side.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !narrow.matches) return;
    event.stopPropagation();
    closeDrawer();
    toggle.focus();
  });
  narrow.addEventListener("change", () => {
    isOpen = !narrow.matches && store.get(KEY) !== "closed";
    show();
  });
  show();
  return { closeDrawer };
}
