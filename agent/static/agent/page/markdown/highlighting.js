// @ts-check
// Colours for code. The highlighter and each language are loaded when the first code of that
// language is shown; until then, and for other languages, code is plain.

import DOMPurify from "../../vendor/purify.js";

/** @typedef {import("../../vendor/highlight/core.js").Language} Language */

/** @type {Record<string, () => Promise<{default: Language}>>} */
const LANGUAGES = {
  bash: () => import("../../vendor/highlight/bash.js"),
  c: () => import("../../vendor/highlight/c.js"),
  cpp: () => import("../../vendor/highlight/cpp.js"),
  css: () => import("../../vendor/highlight/css.js"),
  diff: () => import("../../vendor/highlight/diff.js"),
  go: () => import("../../vendor/highlight/go.js"),
  java: () => import("../../vendor/highlight/java.js"),
  javascript: () => import("../../vendor/highlight/javascript.js"),
  json: () => import("../../vendor/highlight/json.js"),
  python: () => import("../../vendor/highlight/python.js"),
  rust: () => import("../../vendor/highlight/rust.js"),
  sql: () => import("../../vendor/highlight/sql.js"),
  typescript: () => import("../../vendor/highlight/typescript.js"),
  xml: () => import("../../vendor/highlight/xml.js"),
  yaml: () => import("../../vendor/highlight/yaml.js"),
};
/** Other names of languages. @type {Record<string, string>} */
const ALIASES = {
  sh: "bash",
  shell: "bash",
  zsh: "bash",
  console: "bash",
  h: "c",
  "c++": "cpp",
  hpp: "cpp",
  patch: "diff",
  golang: "go",
  js: "javascript",
  jsx: "javascript",
  mjs: "javascript",
  py: "python",
  rs: "rust",
  ts: "typescript",
  tsx: "typescript",
  html: "xml",
  svg: "xml",
  yml: "yaml",
};
/** Longer code stays plain: colouring it would block the page. */
const LONGEST = 50_000;

const purify = DOMPurify(window);
const ALLOWED = {
  ALLOWED_TAGS: ["span"],
  ALLOWED_ATTR: ["class"],
  ALLOWED_URI_REGEXP: /^$/,
  ADD_URI_SAFE_ATTR: [],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: /** @type {true} */ (true),
};

/** @type {Map<string, Promise<import("../../vendor/highlight/core.js").Highlighter>>} */
const loaded = new Map();

/**
 * Colours the text of an element, now or when its language is loaded.
 *
 * @param {HTMLElement} code
 * @param {string} name of the language
 */
export async function highlight(code, name) {
  const language = ALIASES[name.toLowerCase()] ?? name.toLowerCase();
  const text = code.textContent ?? "";
  if (!Object.hasOwn(LANGUAGES, language) || text.length > LONGEST) return;
  const highlighter = await load(language).catch(() => null);
  if (!highlighter) return; // it stays plain
  if (code.textContent !== text) return; // it grew meanwhile
  const { value } = highlighter.highlight(text, { language, ignoreIllegals: true });
  code.replaceChildren(purify.sanitize(value, ALLOWED));
}

/** @param {string} language */
function load(language) {
  const known = loaded.get(language);
  if (known) return known;
  const loading = Promise.all([
    import("../../vendor/highlight/core.js"),
    LANGUAGES[language](),
  ]).then(([{ default: core }, { default: grammar }]) => {
    core.registerLanguage(language, grammar);
    return core;
  });
  loaded.set(language, loading);
  loading.catch(() => loaded.delete(language)); // the next code of that language tries again
  return loading;
}
