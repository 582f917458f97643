import { describe, expect, it } from '@jest/globals'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import {
  consistencySpans,
  hashOf,
  inclusionSpans,
  rootFromInclusion,
  rootsFromConsistency,
  type Hash,
  type Span,
} from './merkle.ts'
import { edgeOf, grow, subtreeReader, TILE_WIDTH, tileKey, tileMap, type Tile } from './tile.ts'

const sha256 = (...parts: Uint8Array[]): Hash => createHash('sha256').update(Buffer.concat(parts)).digest()
const leafHash = (data: Uint8Array): Hash => sha256(Buffer.of(0), data)
const nodeHash = (left: Hash, right: Hash): Hash => sha256(Buffer.of(1), left, right)
const hex = (hash: Hash | undefined): string => Buffer.from(hash ?? []).toString('hex')

/** The definition of RFC 6962 as it is written there, to compare with. */
function treeHash(leaves: readonly Hash[]): Hash {
  if (leaves.length <= 1) return leaves[0] ?? sha256()
  let half = 1
  while (half * 2 < leaves.length) half *= 2
  return nodeHash(treeHash(leaves.slice(0, half)), treeHash(leaves.slice(half)))
}

/** A tree as it is stored, grown in the given steps. */
function treeOf(leaves: readonly Hash[], steps: readonly number[] = [leaves.length]) {
  const tiles = new Map<string, Tile>()
  let size = 0
  for (const step of steps) {
    const edge = edgeOf(size).flatMap((id) => tiles.get(tileKey(id)) ?? [])
    const grown = grow(size, edge, leaves.slice(size, size + step), nodeHash)
    for (const tile of grown.tiles) tiles.set(tileKey(tile), tile)
    size = grown.size
  }
  const read = subtreeReader(tiles, nodeHash)
  const hash = (span: Span): Hash => hashOf(span, read, nodeHash)
  return {
    tiles,
    root: (of = size): Hash => hash({ start: 0, end: of }),
    inclusion: (index: number, of = size): Hash[] => inclusionSpans(index, of).map(hash),
    consistency: (first: number, second = size): Hash[] => consistencySpans(first, second).map(hash),
  }
}

/** The leaves, roots and proofs that implementations of Certificate Transparency are tested with. */
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(
  (data) => leafHash(Buffer.from(data, 'hex')),
)
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]
const H01 = ROOTS[1] ?? ''
const H03 = ROOTS[3] ?? ''
const H1 = '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7'
const H23 = '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e'
const H4 = 'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b'
const H45 = '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a'
const H47 = '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4'
const H67 = 'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0'

describe('the well-known vectors', () => {
  const tree = treeOf(LEAVES)

  it.each(ROOTS.map((root, at) => ({ size: at + 1, root })))('root of $size leaves', ({ size, root }) => {
    expect(hex(tree.root(size))).toBe(root)
    expect(hex(treeOf(LEAVES.slice(0, size)).root())).toBe(root)
  })

  it.each([
    { index: 0, size: 1, path: [] },
    { index: 0, size: 8, path: [H1, H23, H47] },
    { index: 5, size: 8, path: [H4, H67, H03] },
    { index: 2, size: 3, path: [H01] },
    { index: 1, size: 5, path: [ROOTS[0], H23, H4] },
  ])('inclusion of leaf $index in $size', ({ index, size, path }) => {
    expect(tree.inclusion(index, size).map(hex)).toEqual(path)
  })

  it.each([
    { first: 1, second: 1, path: [] },
    { first: 1, second: 8, path: [H1, H23, H47] },
    { first: 6, second: 8, path: [H45, H67, H03] },
    { first: 2, second: 5, path: [H23, H4] },
  ])('consistency of $first with $second', ({ first, second, path }) => {
    expect(tree.consistency(first, second).map(hex)).toEqual(path)
  })
})

const RUNS = { seed, numRuns: count(150, 1_500) }
/** Leaves that differ from each other, and how many come at a time. */
const growth = fc
  .array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 6 })
  .filter((steps) => steps.some((step) => step > 0))
const leavesFor = (steps: readonly number[]): Hash[] =>
  Array.from({ length: steps.reduce((sum, step) => sum + step, 0) }, (_, at) => leafHash(Buffer.from(String(at))))

describe('a tree that grows', () => {
  it('has the root that RFC 6962 defines, however its leaves came', () => {
    fc.assert(
      fc.property(growth, (steps) => {
        const leaves = leavesFor(steps)
        expect(hex(treeOf(leaves, steps).root())).toBe(hex(treeHash(leaves)))
      }),
      RUNS,
    )
  })

  it('proves each leaf, and no other leaf, place, path or size', () => {
    fc.assert(
      fc.property(growth, fc.nat(), fc.nat(), (steps, pick, other) => {
        const leaves = leavesFor(steps)
        const size = leaves.length
        const tree = treeOf(leaves, steps)
        const index = pick % size
        const leaf = leaves[index] as Hash
        const path = tree.inclusion(index)
        const root = hex(tree.root())
        const rootOf = (change: object) => hex(rootFromInclusion({ leaf, index, size, path, ...change }, nodeHash))
        expect(rootOf({})).toBe(root)
        const wrong = other % size
        if (wrong !== index) {
          expect(rootOf({ leaf: leaves[wrong] })).not.toBe(root)
          expect(rootOf({ index: wrong })).not.toBe(root)
        }
        expect(rootOf({ path: [...path, leaf] })).toBe('')
        expect(rootOf({ index: size })).toBe('')
        expect(rootOf({ index: -1 })).toBe('')
        if (path.length > 0) {
          expect(rootOf({ path: path.slice(1) })).toBe('')
          expect(rootOf({ path: path.with(other % path.length, leafHash(leaf)) })).not.toBe(root)
        }
      }),
      RUNS,
    )
  })

  it('proves of each earlier size that nothing of it was changed', () => {
    fc.assert(
      fc.property(growth, fc.nat(), (steps, pick) => {
        const leaves = leavesFor(steps)
        const second = leaves.length
        const first = 1 + (pick % second)
        const tree = treeOf(leaves, steps)
        const firstRoot = tree.root(first)
        const path = tree.consistency(first)
        const roots = rootsFromConsistency({ first, second, firstRoot, path }, nodeHash)
        expect([hex(roots?.first), hex(roots?.second)]).toEqual([hex(firstRoot), hex(tree.root())])
        if (first === second) return
        const forged = rootsFromConsistency({ first, second, firstRoot: leafHash(firstRoot), path }, nodeHash)
        expect(hex(forged?.first) === hex(leafHash(firstRoot)) && hex(forged?.second) === hex(tree.root())).toBe(false)
        expect(rootsFromConsistency({ first, second, firstRoot, path: path.slice(1) }, nodeHash)).toBeUndefined()
      }),
      RUNS,
    )
  })

  it('is kept in tiles that only ever get longer, and are full but for the last of each level', () => {
    const leaves = leavesFor([TILE_WIDTH * TILE_WIDTH + 3])
    const tree = treeOf(leaves, [1, 255, 256, leaves.length - 512])
    expect(edgeOf(leaves.length)).toEqual([
      { level: 0, no: 256, width: 3 },
      { level: 2, no: 0, width: 1 },
    ])
    const partial = [...tree.tiles.values()].filter(({ hashes }) => hashes.length < TILE_WIDTH)
    expect(partial.map(({ level, hashes }) => [level, hashes.length])).toEqual([
      [2, 1],
      [0, 3],
    ])
    expect(hex(tree.root())).toBe(hex(treeHash(leaves)))
  })

  it('counts beyond 32 bits', () => {
    const size = 2 ** 40 + 2 ** 33 + 5
    expect(inclusionSpans(2 ** 40 + 7, size).length).toBeLessThan(60)
    expect(edgeOf(size).map(({ level }) => level)).toEqual([0, 4, 5])
    const path = inclusionSpans(size - 1, size).map(({ start }) => leafHash(Buffer.from(String(start))))
    expect(rootFromInclusion({ leaf: leafHash(Buffer.of()), index: size - 1, size, path }, nodeHash)).toHaveLength(32)
  })
})

it('does not invent what is not stored', () => {
  const tree = treeOf(LEAVES)
  expect(() =>
    hashOf({ start: 0, end: 16 }, subtreeReader(tileMap([...tree.tiles.values()]), nodeHash), nodeHash),
  ).toThrow('the tree lacks subtree 0 of level 4')
})
