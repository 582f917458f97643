// The demo as told to a person: scenes, and in them what happened when.

const MS_WIDTH = 8

export type Scene = {
  /** Tells one step, with the milliseconds since the scene began. */
  say: (text: string) => void
  /** Milliseconds since the scene began. */
  ms: () => number
}
export type Story = {
  scene: (title: string) => Scene
  /** Text of its own, such as a table. */
  show: (text: string) => void
}

/** @param write where the story goes; nowhere, for `--json` */
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
