// @ts-check
// Light or dark colours: those of the system, or chosen by the user. `early.js` applies the choice at
// the next load.

import { t } from "../i18n/translate.js";
import { relabel } from "../ui/dom.js";

/** @typedef {import("../../client/storage.js").Store} Store */

const KEY = "agent.theme";
const THEMES = /** @type {const} */ (["system", "light", "dark"]);
const LABELS = { system: "themeSystem", light: "themeLight", dark: "themeDark" };

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
  return next;
}
