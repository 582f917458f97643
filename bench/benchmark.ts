// What every benchmark has in common: systems that answer one question, measured side by side, round by round.

/** What one system did in one round. */
export type Measurement = {
  /** Numbers by name, such as `orders/s` or `create ms p99`. */
  figures: Readonly<Record<string, number>>
  errors: number
  /** The first of them, in words. */
  messages: readonly string[]
}

/** Measurements by the system's name. Only those of one round are compared: they share the machine's mood. */
export type Round = Readonly<Record<string, Measurement>>

export type System = {
  name: string
  /** What it includes, in one sentence. */
  about: string
  /** One slot: alone on the machine, warmed up first. */
  measure: () => Promise<Measurement>
}

/** The median of a ratio over the rounds must be at least this. */
export type Goal = { ratio: string; atLeast: number }

export type Options = {
  /** How long each slot is measured, after its warm-up. */
  seconds: number
  /** So short that it shows only that everything still runs. */
  isSmoke: boolean
  /** For all that a run keeps until it ends. */
  dataDir: string
  log: (line: string) => void
}

export type Opened = {
  systems: readonly System[]
  /** Facts about what was measured, besides the machine's. */
  facts: Readonly<Record<string, string | number>>
  close: () => Promise<void>
}

export type Benchmark = {
  name: string
  question: string
  /** The figure shown in the picture. */
  headline: string
  ratios: Readonly<Record<string, (round: Round) => number>>
  goals: Readonly<Record<string, Goal>>
  open: (options: Options) => Promise<Opened>
}

/** A figure of a system in a round. @throws {Error} where there is none: a benchmark's names do not fit each other */
export function figureOf(round: Round, system: string, figure: string): number {
  const value = round[system]?.figures[figure]
  if (value === undefined) throw new Error(`${system} has no figure named ${figure}`)
  return value
}
