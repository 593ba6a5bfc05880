/** What an inbox takes and gives. Types only. */
export {};
