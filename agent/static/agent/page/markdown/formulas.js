// @ts-check
// Formulas as MathML. Temml is loaded with the first formula; until then, and where it does not
// understand a formula, its source is shown.

import DOMPurify from "../../vendor/purify.js";

/** Longer formulas stay source: typesetting them would block the page. */
const LONGEST = 5_000;
/** How many typeset formulas are kept: a growing text shows its last ones again and again. */
const KEPT = 500;
const OPTIONS = {
  throwOnError: true,
  annotate: true,
  trust: false,
  maxExpand: 500,
  maxSize: /** @type {[number, number]} */ ([20, 20]),
};

const purify = DOMPurify(window);
const ALLOWED = {
  ALLOWED_TAGS: (
    "math semantics annotation mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup " +
    "munder mover munderover mmultiscripts mprescripts mtable mtr mtd mlabeledtr mpadded mphantom " +
    "menclose mstyle"
  ).split(" "),
  ALLOWED_ATTR: (
    "class display displaystyle scriptlevel encoding mathvariant stretchy fence form separator " +
    "lspace rspace minsize maxsize accent accentunder symmetric largeop movablelimits columnalign " +
    "rowspacing columnspacing columnlines rowlines width height depth voffset linethickness notation " +
    "rowspan columnspan"
  ).split(" "),
  ALLOWED_URI_REGEXP: /^[^:]*$/,
  ADD_URI_SAFE_ATTR: [],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: /** @type {true} */ (true),
};

/** @type {import("../../vendor/temml.js").Temml | null} */
let temml = null;
/** @type {Promise<void> | null} */
let loading = null;
/** By kind and source; null: it cannot be typeset. @type {Map<string, DocumentFragment | null>} */
const typeset = new Map();

/**
 * Typesets the formulas of a rendered fragment, now or when Temml is loaded.
 *
 * @param {DocumentFragment} rendered
 */
export function typesetFormulas(rendered) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (
    rendered.querySelectorAll(".formula")
  )) {
    element.dir = "ltr";
    if (temml) show(element);
    else void load().then(() => show(element), ignore);
  }
}

function load() {
  loading ??= import("../../vendor/temml.js").then(
    ({ default: library }) => {
      temml = library;
    },
    (error) => {
      loading = null; // the next formula tries again
      throw error;
    },
  );
  return loading;
}

/** The source stays. */
function ignore() {}

/** @param {HTMLElement} element that shows the source */
function show(element) {
  const isDisplayed = element.classList.contains("displayed");
  const made = typesetOf(element.title, isDisplayed);
  if (made && !element.querySelector("math")) element.replaceChildren(made.cloneNode(true));
}

/** @param {string} source @param {boolean} isDisplayed */
function typesetOf(source, isDisplayed) {
  const key = `${isDisplayed} ${source}`;
  const known = typeset.get(key);
  if (known !== undefined) return known;
  if (typeset.size >= KEPT) typeset.clear();
  const made = make(source, isDisplayed);
  typeset.set(key, made);
  return made;
}

/** @param {string} source @param {boolean} displayMode */
function make(source, displayMode) {
  if (!temml || source.length > LONGEST) return null;
  try {
    const markup = temml.renderToString(source, { ...OPTIONS, displayMode });
    // the security policy would report each style that the parser meets
    return purify.sanitize(markup.replace(/ style="[^"]*"/g, ""), ALLOWED);
  } catch {
    return null; // it is not LaTeX, or uses what Temml does not know
  }
}
