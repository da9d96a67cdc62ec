/** What `toString` of buffers calls when it has looked at its arguments. */
interface Utf8Slicer extends Buffer {
  utf8Slice(start: number, end: number): string
}

/** The text that those bytes are in UTF-8, which are there. */
export function utf8Of(bytes: Buffer, start: number, end: number): string {
  return (bytes as Utf8Slicer).utf8Slice(start, end)
}
