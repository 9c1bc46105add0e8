// @ts-check
// The words of the page in the language of its document. A language is a module in `words/`, and
// an entry here; what it lacks stays English.

import { WORDS as ENGLISH } from "./labels/en.js";

/** @typedef {Record<string, string | Record<string, string>>} Catalogue */

/**
 * Languages beside English.
 *
 * @type {Record<string, () => Promise<{WORDS: Catalogue}>>}
 */
const OTHERS = {};

export const LANGUAGE = globalThis.document?.documentElement.lang || "en";
/** How the reader writes times and numbers in that language, if the browser knows: `en-GB`. */
export const LOCALE =
  globalThis.navigator?.languages?.find((name) => name.split("-")[0] === LANGUAGE) ?? LANGUAGE;

const { WORDS: own } = (await OTHERS[LANGUAGE]?.()) ?? { WORDS: {} };
const plurals = new Intl.PluralRules(LANGUAGE);
const numbers = new Intl.NumberFormat(LOCALE);

/**
 * @param {string} name of a word in the catalogue
 * @param {Record<string, string | number>} [values] for what it has in braces; `n` chooses the form
 */
export function t(name, values = {}) {
  const word = own[name] ?? ENGLISH[name];
  const form = typeof word === "string" ? word : word?.[plurals.select(Number(values.n))];
  if (form === undefined) throw new Error(`There is no word ${name}.`);
  return form.replace(/\{(\w+)\}/g, (_, key) => shown(values[key]));
}

/** @param {string | number | undefined} value */
function shown(value) {
  return typeof value === "number" ? numbers.format(value) : String(value ?? "");
}
