/**
 * The templates of the element: what it shows for a given state. Pure but for the handlers it
 * attaches; real list, tab and heading semantics, and never a button inside a button.
 */
import type { TemplateResult } from "lit";
import type { Handlers, Model } from "./model.ts";
export declare function bellView(model: Model, on: Handlers): TemplateResult;
