/** What people and programs get to see: text or JSON on standard output, refusals on standard error. */
import { styleText } from 'node:util'

/** Prints an answer: as JSON, or as the text that `text` makes of it. */
export function answer<T>(json: boolean, value: T, text: (value: T) => string): void {
  const shown = json ? JSON.stringify(value, jsonValue, 2) : text(value)
  if (shown !== '') console.log(shown.replace(/\n$/, ''))
}

/** Prints an event on a line of its own, with the time. */
export function event(json: boolean, name: string, details: Readonly<Record<string, unknown>> = {}): void {
  const time = new Date().toISOString()
  if (json) return console.log(JSON.stringify({ time, event: name, ...details }, jsonValue))
  const text = Object.entries(details).map(([key, value]) => `${key} ${String(value)}`)
  console.log(`${time} ${name}${text.length > 0 ? `: ${text.join(', ')}` : ''}`)
}

/** Prints a refusal. */
export function refusal(json: boolean, error: unknown): void {
  const { message, code, errno, syscall, remedy } = error as Record<string, unknown>
  if (json) {
    const known = { code, errno, syscall, remedy }
    console.error(JSON.stringify({ error: { message: String(message ?? error), ...known } }, jsonValue))
  } else console.error(paint(process.stderr, 'red', String(message ?? error)))
}

/** Text in a colour where the stream is a terminal that wants some (`NO_COLOR` does not). */
export function paint(stream: NodeJS.WriteStream, style: 'red' | 'green' | 'bold' | 'yellow', text: string): string {
  const plain = !stream.isTTY || (process.env['NO_COLOR'] ?? '') !== '' || process.env['TERM'] === 'dumb'
  return plain ? text : styleText(style, text)
}

/** 64-bit quantities as hexadecimal strings, which every JSON reader takes. */
function jsonValue(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value
}
