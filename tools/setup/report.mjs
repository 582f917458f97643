// The output of set-up. Everything goes to stderr: stdout belongs to the command that follows (`--json`).

const TTY_INTERVAL_MS = 1_000
const LOG_INTERVAL_MS = 15_000

/** A failure whose message says what is wrong and what to do, and is printed without a stack trace. */
export class SetupError extends Error {}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`holdfast: ${line}\n`)
}

/** @param {number} ms @returns {string} minutes and seconds, such as `4:07` */
export function clockOf(ms) {
  const seconds = Math.floor(ms / 1_000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

/**
 * Progress of `work`: one line that is rewritten each second on a terminal, occasional lines in a log.
 * @template T
 * @param {string} label the name of the work
 * @param {(note: (text: string) => void) => Promise<T>} work reports its progress with `note`
 * @returns {Promise<T>}
 */
export async function withProgress(label, work) {
  const startedAt = Date.now()
  const isTerminal = process.stderr.isTTY
  let detail = ''
  const draw = () => {
    const text = `${label} … ${clockOf(Date.now() - startedAt)}${detail && ` (${detail})`}`
    if (isTerminal) process.stderr.write(`\r\x1b[Kholdfast: ${text.slice(0, (process.stderr.columns ?? 80) - 11)}`)
    else say(text)
  }
  draw()
  const timer = setInterval(draw, isTerminal ? TTY_INTERVAL_MS : LOG_INTERVAL_MS)
  try {
    const result = await work((text) => {
      detail = text
    })
    if (isTerminal) process.stderr.write('\r\x1b[K')
    say(`${label}: done in ${clockOf(Date.now() - startedAt)}`)
    return result
  } catch (error) {
    if (isTerminal) process.stderr.write('\n')
    throw error
  } finally {
    clearInterval(timer)
  }
}
