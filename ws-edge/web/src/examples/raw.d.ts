/** A source file as text, so that the page shows the very code that it runs. */
declare module "*?raw" {
  const text: string;
  export default text;
}
