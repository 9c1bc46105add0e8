// @ts-check
// The labels of the page in the language of its document. A language is a module in `labels/` and an
// entry here; labels that it lacks stay English.

import { LABELS as ENGLISH } from "./labels/en.js";

/** @typedef {Record<string, string | Record<string, string>>} Catalogue */

/**
 * Languages beside English.
 *
 * @type {Record<string, () => Promise<{LABELS: Catalogue}>>}
 */
const OTHERS = {};

export const LANGUAGE = globalThis.document?.documentElement.lang || "en";
/** The reader's variant of that language, for times and numbers, if the browser knows it: `en-GB`. */
export const LOCALE =
  globalThis.navigator?.languages?.find((name) => name.split("-")[0] === LANGUAGE) ?? LANGUAGE;

const { LABELS: own } = (await OTHERS[LANGUAGE]?.()) ?? { LABELS: {} };
const plurals = new Intl.PluralRules(LANGUAGE);
const numbers = new Intl.NumberFormat(LOCALE);

/**
 * @param {string} name of a label in the catalogue
 * @param {Record<string, string | number>} [values] for its placeholders in braces; `n` chooses the plural form
 */
export function t(name, values = {}) {
  const label = own[name] ?? ENGLISH[name];
  const form = typeof label === "string" ? label : label?.[plurals.select(Number(values.n))];
  if (form === undefined) throw new Error(`There is no label ${name}.`);
  return form.replace(/\{(\w+)\}/g, (_, key) => shown(values[key]));
}

/** @param {string | number | undefined} value */
function shown(value) {
  return typeof value === "number" ? numbers.format(value) : String(value ?? "");
}
