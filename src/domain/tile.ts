// How a tree is kept: tiles of 256 neighbouring hashes, so that a tree grows by appending to a few of them, and any
// proof is made of a few of them. 33 bytes per leaf in all, and the stored tree is never read as a whole.

import type { Hash, NodeHash, Subtree } from './merkle.ts'

/** Tiles hold the hashes of 256 neighbours: one level of tiles for each eight levels of the tree. */
export const TILE_LEVELS = 8
export const TILE_WIDTH = 256

/** `hashes` are those of the subtrees of level 8 × `level`, from the 256 × `no`-th on. */
export type Tile = { level: number; no: number; hashes: Hash[] }
export type TileId = Pick<Tile, 'level' | 'no'>

/** Where a complete subtree's hash is found: the tile, and which of its hashes lie below it. */
export function placeOf({ level, index }: Subtree): TileId & { from: number; count: number } {
  const tileLevel = Math.floor(level / TILE_LEVELS)
  const count = 2 ** (level - tileLevel * TILE_LEVELS)
  const first = index * count
  const no = Math.floor(first / TILE_WIDTH)
  return { level: tileLevel, no, from: first - no * TILE_WIDTH, count }
}

/** The tiles at the growing edge of a tree and how many hashes they hold; a level whose last tile is full has none. */
export function edgeOf(size: number): (TileId & { width: number })[] {
  const edge: (TileId & { width: number })[] = []
  for (let level = 0, count = size; count > 0; level += 1, count = Math.floor(count / TILE_WIDTH)) {
    const width = count % TILE_WIDTH
    if (width > 0) edge.push({ level, no: Math.floor(count / TILE_WIDTH), width })
  }
  return edge
}

/** Reads subtrees out of tiles. @throws {Error} when a tile, or a hash in it, is not there */
export const subtreeReader =
  (tiles: ReadonlyMap<string, Tile>, nodeHash: NodeHash) =>
  (subtree: Subtree): Hash => {
    const { from, count, ...id } = placeOf(subtree)
    const hashes = tiles.get(tileKey(id))?.hashes.slice(from, from + count) ?? []
    if (hashes.length < count) throw new Error(`the tree lacks subtree ${subtree.index} of level ${subtree.level}`)
    return completeHash(hashes, nodeHash)
  }

export const tileKey = ({ level, no }: TileId): string => `${level}/${no}`
export const tileMap = (tiles: readonly Tile[]): Map<string, Tile> =>
  new Map(tiles.map((tile) => [tileKey(tile), tile]))

function completeHash(hashes: readonly Hash[], nodeHash: NodeHash): Hash {
  let row = hashes
  while (row.length > 1)
    row = Array.from({ length: row.length / 2 }, (_, at) => nodeHash(row[2 * at] as Hash, row[2 * at + 1] as Hash))
  return row[0] as Hash
}

/**
 * The tree with more leaves at its end. @param edge the tiles of edgeOf(size), with the hashes they hold
 * @returns the tiles that are new or longer than before
 */
export function grow(
  size: number,
  edge: readonly Tile[],
  leaves: readonly Hash[],
  nodeHash: NodeHash,
): { size: number; tiles: Tile[] } {
  const open = new Map(edge.map((tile) => [tile.level, { ...tile, hashes: [...tile.hashes] }]))
  const touched = new Map<string, Tile>()
  const push = (level: number, hash: Hash): void => {
    const count = Math.floor(size / TILE_WIDTH ** level)
    const tile = open.get(level) ?? { level, no: Math.floor(count / TILE_WIDTH), hashes: [] }
    open.set(level, tile)
    tile.hashes.push(hash)
    touched.set(tileKey(tile), tile)
    if (tile.hashes.length < TILE_WIDTH) return
    open.delete(level)
    push(level + 1, completeHash(tile.hashes, nodeHash))
  }
  for (const leaf of leaves) {
    push(0, leaf)
    size += 1
  }
  return { size, tiles: [...touched.values()] }
}
