// Timing comparison in the manner of dudect: Welch's t-test of two samples, with a least effect beside the significance.
// With enough samples any difference becomes significant, also one that no attacker could use.

/** |t| from which two means differ by more than chance: once in 150,000 comparisons of equal distributions. */
export const T_LIMIT = 4.5
/** The part of a call's time by which medians may differ. */
export const SHIFT_LIMIT = 0.02
/** Of both samples together, this share of the longest is dropped: garbage collection and other processes. */
const CROPPED = 0.05

export type TimingVerdict = {
  t: number
  /** Of the values as given. */
  medians: readonly [number, number]
  /** Difference of the medians as a share of the lesser one. */
  shift: number
  /** Both limits are exceeded: the times tell the two apart. */
  isLeak: boolean
}

/** @throws {RangeError} for fewer than two values on a side */
export function compareTimings(first: readonly number[], second: readonly number[]): TimingVerdict {
  if (first.length < 2 || second.length < 2) throw new RangeError('a comparison needs two values on each side')
  const limit = quantileOf([...first, ...second], 1 - CROPPED)
  const crop = (values: readonly number[]): readonly number[] => values.filter((value) => value <= limit)
  const t = welchT(crop(first), crop(second))
  const medians = [quantileOf(first, 0.5), quantileOf(second, 0.5)] as const
  const shift = Math.abs(medians[0] - medians[1]) / Math.min(...medians)
  return { t, medians, shift, isLeak: Math.abs(t) >= T_LIMIT && shift > SHIFT_LIMIT }
}

/** Welch's t for unequal variances: the difference of the means in standard errors; 0 for two equal constants. */
export function welchT(first: readonly number[], second: readonly number[]): number {
  const [a, b] = [momentsOf(first), momentsOf(second)]
  const difference = a.mean - b.mean
  return difference === 0 ? 0 : difference / Math.sqrt(a.variance / first.length + b.variance / second.length)
}

function momentsOf(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, variance: squares / (values.length - 1) }
}

/** By nearest rank. */
function quantileOf(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).toSorted()
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}
