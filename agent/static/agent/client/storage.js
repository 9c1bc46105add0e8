// @ts-check
// Texts under keys, in the browser's storage or, where that is forbidden or full, in memory.

/**
 * @typedef {object} Store
 * @property {(key: string) => string | null} get
 * @property {(key: string, value: string) => void} set
 * @property {(key: string) => void} remove
 * @property {(prefix: string) => string[]} keys the keys that start with `prefix`
 */

/** @returns {Store} */
export function memoryStore() {
  /** @type {Map<string, string>} */
  const values = new Map();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    remove: (key) => void values.delete(key),
    keys: (prefix) => [...values.keys()].filter((key) => key.startsWith(prefix)),
  };
}

/**
 * The part of a store that belongs to one caller, so that nobody sees the texts of another one.
 *
 * @param {Store} store
 * @param {string} caller opaque name; empty: the whole store
 * @returns {Store}
 */
export function callerStore(store, caller) {
  if (!caller) return store;
  const own = `agent.of.${caller}/`;
  return {
    get: (key) => store.get(own + key),
    set: (key, value) => store.set(own + key, value),
    remove: (key) => store.remove(own + key),
    keys: (prefix) => store.keys(own + prefix).map((key) => key.slice(own.length)),
  };
}

/**
 * A store over `localStorage` or `sessionStorage`. A text that the browser refuses to keep lives as
 * long as the page.
 *
 * @param {() => Storage} open may throw: browsers can forbid storage
 * @returns {Store}
 */
export function browserStore(open) {
  const memory = memoryStore();
  /** @type {Storage} */
  let storage;
  try {
    storage = open();
    storage.length;
  } catch {
    return memory;
  }
  return {
    get: (key) => memory.get(key) ?? storage.getItem(key),
    set(key, value) {
      try {
        storage.setItem(key, value);
        memory.remove(key);
      } catch {
        memory.set(key, value);
      }
    },
    remove(key) {
      memory.remove(key);
      storage.removeItem(key);
    },
    keys: (prefix) => [
      ...Object.keys(storage).filter((key) => key.startsWith(prefix)),
      ...memory.keys(prefix),
    ],
  };
}
