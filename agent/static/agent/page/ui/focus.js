// @ts-check
// Keeps the keyboard where it was when a rendering removes, hides or moves the control that has the
// focus: the focus goes to the control that has taken its place.

const CONTROLS = "a[href], button, input, select, summary, textarea, [tabindex]";

/**
 * @param {() => void} draw
 * @param {HTMLElement} last where the focus goes if no control near it is left
 */
export function keepFocus(draw, last) {
  const active = document.activeElement;
  if (!(active instanceof HTMLElement) || active === document.body) return draw();
  const region = active.closest("#messages, #queue, #sessions, .strip") ?? active;
  const controls = [...region.querySelectorAll(CONTROLS)];
  const at = controls.indexOf(active);
  draw();
  if (document.activeElement === active && canHaveFocus(active)) return;
  const near = [active, ...controls.slice(at + 1), ...controls.slice(0, Math.max(at, 0)).reverse()];
  const next = near.find(canHaveFocus) ?? [...last.querySelectorAll(CONTROLS)].find(canHaveFocus);
  if (next instanceof HTMLElement) next.focus({ preventScroll: true });
}

/** @param {Element} element */
function canHaveFocus(element) {
  return element.isConnected && element.checkVisibility() && !element.matches(":disabled");
}
