// @ts-check
// Light or dark colours: those of the system, or chosen by the user. `early.js` applies the choice at
// the next load.

import { t } from "../i18n/translate.js";
import { relabel } from "../ui/dom.js";

/** @typedef {import("../../client/storage.js").Store} Store */

const KEY = "agent.theme";
const THEMES = /** @type {const} */ (["system", "light", "dark"]);
const LABELS = { system: "themeSystem", light: "themeLight", dark: "themeDark" };

/** The bar of a phone's browser has the colour of the page, also of a chosen one. */
function showBarColour() {
  const colour = getComputedStyle(document.body).backgroundColor;
  const metas = document.querySelectorAll('meta[name="theme-color"]');
  for (const meta of metas) meta.setAttribute("content", colour);
}

/**
 * Lets a button switch the colours.
 *
 * @param {HTMLButtonElement} button
 * @param {Store} store
 * @returns {() => void} switches the colours
 */
export function switchTheme(button, store) {
  const chosen = () => THEMES.find((name) => name === store.get(KEY)) ?? "system";
  const show = () => {
    const theme = chosen();
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    showBarColour();
    relabel(button, theme, t(LABELS[theme]));
  };
  const next = () => {
    const theme = THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length];
    if (theme === "system") store.remove(KEY);
    else store.set(KEY, theme);
    show();
  };
  button.addEventListener("click", next);
  window.addEventListener("storage", ({ key }) => key === KEY && show());
  show();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showBarColour);
  return next;
}
