// A language of highlight.js, for the type checker.
import type { Language } from "./core.js";
export declare const language: Language;
