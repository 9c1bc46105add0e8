// @ts-check
// Client ids: a client chooses the id of each query and command, and the server's replies name it
// as `ref`.

/** A random client id. It needs to be unique, not secret. */
export function newId() {
  const bytes = new Uint8Array(16);
  // crypto.randomUUID needs HTTPS, and Node 18 has no global crypto
  if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.random() * 256;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
