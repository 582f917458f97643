// The hash tree of RFC 6962 over a log that only grows: which subtrees a root, an inclusion path or a consistency path
// is made of, and what such a path proves. Hashing is the caller's: this file knows only which hash stands where.

export type Hash = Uint8Array
export type NodeHash = (left: Hash, right: Hash) => Hash
/** Leaves from `start` up to, and without, `end`. */
export type Span = { start: number; end: number }
/** A complete subtree: 2^level leaves, the index-th of that size. */
export type Subtree = { level: number; index: number }

const sizeOf = ({ start, end }: Span): number => end - start
/** Not by shifting: that would cut a size off at 32 bits. */
const halfOf = (size: number): number => {
  let half = 1
  while (half * 2 < size) half *= 2
  return half
}
const halvesOf = (span: Span): [Span, Span] => {
  const middle = span.start + halfOf(sizeOf(span))
  return [
    { start: span.start, end: middle },
    { start: middle, end: span.end },
  ]
}

/** The complete subtrees that a span falls into, from the left: the largest first. */
export function subtreesOf(span: Span): Subtree[] {
  const size = sizeOf(span)
  if (size === 0) return []
  const level = levelOf(size)
  return level === undefined ? halvesOf(span).flatMap(subtreesOf) : [{ level, index: span.start / size }]
}

/** The level whose subtrees have that many leaves, where there is one. */
function levelOf(size: number): number | undefined {
  let [level, leaves] = [0, 1]
  for (; leaves < size; leaves *= 2) level += 1
  return leaves === size ? level : undefined
}

/** The hash over a span that is not empty. @param subtreeHash what is stored for a complete subtree */
export function hashOf(span: Span, subtreeHash: (subtree: Subtree) => Hash, nodeHash: NodeHash): Hash {
  const hashes = subtreesOf(span).map(subtreeHash)
  // A span is its largest subtree beside all that follows.
  return hashes.reduceRight((right, left) => nodeHash(left, right))
}

/** The siblings on the way from a leaf to the root, from below: their hashes are the leaf's inclusion path. */
export function inclusionSpans(index: number, size: number): Span[] {
  const walk = (span: Span): Span[] => {
    if (sizeOf(span) <= 1) return []
    const [left, right] = halvesOf(span)
    return index < left.end ? [...walk(left), right] : [...walk(right), left]
  }
  return walk({ start: 0, end: size })
}

/** What proves that the tree of `first` leaves is the beginning of that of `second`; from below. */
export function consistencySpans(first: number, second: number): Span[] {
  const walk = (span: Span, isOldRoot: boolean): Span[] => {
    if (span.end === first) return isOldRoot ? [] : [span]
    const [left, right] = halvesOf(span)
    return first <= left.end ? [...walk(left, isOldRoot), right] : [...walk(right, false), left]
  }
  return first === 0 || first === second ? [] : walk({ start: 0, end: second }, true)
}

type Inclusion = { leaf: Hash; index: number; size: number; path: readonly Hash[] }

/** The root that a leaf and its path lead to; undefined when the path has not the length that index and size ask for. */
export function rootFromInclusion({ leaf, index, size, path }: Inclusion, nodeHash: NodeHash): Hash | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return undefined
  const siblings = inclusionSpans(index, size)
  if (siblings.length !== path.length) return undefined
  return path.reduce(
    (hash, sibling, at) => ((siblings[at]?.start ?? 0) > index ? nodeHash(hash, sibling) : nodeHash(sibling, hash)),
    leaf,
  )
}

type Consistency = { first: number; second: number; firstRoot: Hash; path: readonly Hash[] }

/** Both roots that a consistency path leads to: the old one must be `firstRoot`, the new one what is claimed. */
export function rootsFromConsistency(
  { first, second, firstRoot, path }: Consistency,
  nodeHash: NodeHash,
): { first: Hash; second: Hash } | undefined {
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(second) || first < 1 || first > second) return undefined
  const spans = consistencySpans(first, second)
  if (spans.length !== path.length) return undefined
  // Where the old tree is a complete subtree of the new one, its root is where the path begins, and not in it.
  const isSubtree = first === second || (spans[0]?.start ?? 0) >= first
  const [seed, ...rest] = isSubtree ? [firstRoot, ...path] : path
  if (seed === undefined) return undefined
  const from = isSubtree ? 0 : 1
  return rest.reduce(
    (roots, hash, at) =>
      (spans[at + from]?.start ?? 0) >= first
        ? { first: roots.first, second: nodeHash(roots.second, hash) }
        : { first: nodeHash(hash, roots.first), second: nodeHash(hash, roots.second) },
    { first: seed, second: seed },
  )
}
