// @ts-check
// Makes elements equal to others by changing only what differs, so that what a reader selected or
// unfolded stays as it is while a text grows.

/** Attributes that belong to the reader. */
const KEPT_ATTRIBUTES = new Set(["open"]);

/**
 * Makes the children of `shown` equal to those of `wanted`, which loses them.
 *
 * @param {Element} shown
 * @param {Node} wanted
 */
export function patchChildren(shown, wanted) {
  let present = shown.firstChild;
  for (const node of [...wanted.childNodes]) {
    if (!present) {
      shown.append(node);
      continue;
    }
    const next = present.nextSibling;
    if (!patch(present, node)) present.replaceWith(node);
    present = next;
  }
  while (present) {
    const next = present.nextSibling;
    present.remove();
    present = next;
  }
}

/** @param {Node} shown @param {Node} wanted @returns {boolean} false: they have nothing in common */
function patch(shown, wanted) {
  if (shown instanceof Text && wanted instanceof Text) {
    if (wanted.data.startsWith(shown.data)) shown.appendData(wanted.data.slice(shown.data.length));
    else shown.data = wanted.data;
    return true;
  }
  if (!(shown instanceof Element && wanted instanceof Element)) return false;
  if (shown.nodeName !== wanted.nodeName || shown.className !== wanted.className) return false;
  if (shown.nodeName === "BUTTON") return true; // that of a block of code, with its listener
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && !KEPT_ATTRIBUTES.has(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  patchChildren(shown, wanted);
  return true;
}
