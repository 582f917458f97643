// The demo's output for people: scenes of timed steps.

const MS_WIDTH = 8

export type Scene = {
  /** Prints one step, with the milliseconds since the scene began. */
  say: (text: string) => void
  /** Milliseconds since the scene began. */
  ms: () => number
}
export type Story = {
  scene: (title: string) => Scene
  /** Prints other text, such as a table. */
  show: (text: string) => void
}

/** @param write the output; discards it for `--json` */
export function createStory(write: (text: string) => void): Story {
  return {
    scene(title) {
      const startedAt = performance.now()
      const ms = (): number => Math.round(performance.now() - startedAt)
      write(`\n${title}\n`)
      return { ms, say: (text) => write(`${String(ms()).padStart(MS_WIDTH)} ms  ${text}\n`) }
    },
    show: (text) => write(`\n${text}\n`),
  }
}
