// Types shared by all benchmarks: systems that answer one question, measured side by side in rounds.

/** Results of one system in one round. */
export type Measurement = {
  /** Numbers by name, such as `orders/s` or `create ms p99`. The first sums up a system that has no headline. */
  figures: Readonly<Record<string, number>>
  errors: number
  /** Texts of the first errors. */
  messages: readonly string[]
}

/** Measurements by system name. Only those of one round are compared: they ran under the same conditions. */
export type Round = Readonly<Record<string, Measurement>>

export type System = {
  name: string
  /** What it includes, in one sentence. */
  about: string
  /** Measures one slot: alone on the machine, after a warm-up. */
  measure: () => Promise<Measurement>
}

/** The median of a ratio over the rounds must be at least this. */
export type Goal = { ratio: string; atLeast: number }

export type Options = {
  /** How long each slot is measured, after its warm-up. */
  seconds: number
  /** So short that it shows only that everything still runs. */
  isSmoke: boolean
  /** Keeps the run's files until it ends. */
  dataDir: string
  log: (line: string) => void
}

export type Opened = {
  systems: readonly System[]
  /** Facts about what was measured, in addition to the machine's. */
  facts: Readonly<Record<string, string | number>>
  close: () => Promise<void>
}

export type Benchmark = {
  name: string
  question: string
  /** The figure that the chart shows, of the systems that have it. */
  headline: string
  ratios: Readonly<Record<string, (round: Round) => number>>
  goals: Readonly<Record<string, Goal>>
  open: (options: Options) => Promise<Opened>
}

/** A figure of a system in a round. @throws {Error} when it is missing, which is a mistake in the benchmark */
export function figureOf(round: Round, system: string, figure: string): number {
  const value = round[system]?.figures[figure]
  if (value === undefined) throw new Error(`${system} has no figure named ${figure}`)
  return value
}
