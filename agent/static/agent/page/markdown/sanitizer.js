// @ts-check
// Untrusted HTML to safe DOM: an allow-list of elements and attributes, and links that open apart.
//
// Nothing here may cause a request to another host: the allow-list has no element that loads
// anything.

import DOMPurify from "../../vendor/purify.js";

const ALLOWED = {
  ALLOWED_TAGS: (
    "p br hr strong em del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 " +
    "table thead tbody tr th td a sub sup kbd u mark b i s ins small " +
    "details summary span"
  ).split(" "),
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["start", "align"], // the expression above is for addresses only
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: /** @type {true} */ (true),
};
const OWN_CLASS = /^(?:language-[\w+#.-]{1,40}|formula|formula displayed)$/;

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") secureLink(/** @type {HTMLAnchorElement} */ (node));
  if (!OWN_CLASS.test(node.getAttribute("class") ?? "")) node.removeAttribute("class");
});

/** @param {string} html @returns {DocumentFragment} */
export function sanitized(html) {
  return purify.sanitize(html, ALLOWED);
}

/** @param {HTMLAnchorElement} link */
function secureLink(link) {
  if (!link.hasAttribute("href")) return; // its address was not allowed
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer");
}
