export { language as default } from "./language.js";
