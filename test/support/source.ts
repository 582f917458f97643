// Source files of the repository as text, for tests of our code rules.

import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const NOT_OURS = /(^|\/)(node_modules|dist|\.data|\.git)(\/|$)/

/** Text of a file, by its path from the root. */
export const readSource = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Paths from the root, with forward slashes, sorted. */
export const findSources = (...patterns: string[]): string[] =>
  globSync(patterns, { cwd: ROOT, exclude: (path) => NOT_OURS.test(path) }).toSorted()

/** Of the content of files and of their names. */
export function hashOfSources(...patterns: string[]): string {
  const hash = createHash('sha256')
  for (const path of findSources(...patterns)) hash.update(`${path}\0${readSource(path)}\0`)
  return hash.digest('hex')
}

export type Import = {
  /** A path below src without its extension (`db/order`), or the specifier of a package or Node built-in. */
  target: string
  isTypeOnly: boolean
}

const IMPORT = /^(?:import|export)\s+(type\s)?(?:[\w*{][^'";]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm

/** What a file of src imports. Type-only means `import type`: an import of inline types still loads the module. */
export function importsOf(path: string): Import[] {
  return [...readSource(path).matchAll(IMPORT)].map(([, type, specifier, dynamic]) => {
    const target = specifier ?? dynamic ?? ''
    return {
      target: target.startsWith('.')
        ? posix.relative('src', posix.join(posix.dirname(path), target)).replace(/\.ts$/, '')
        : target,
      isTypeOnly: type !== undefined,
    }
  })
}

/** The first circle of imports among these files, its first file once more at its end; none: empty. */
export function findCircle(paths: readonly string[]): readonly string[] {
  const known = new Set(paths)
  const cleared = new Set<string>()
  const search = (path: string, way: readonly string[]): readonly string[] => {
    if (way.includes(path)) return [...way.slice(way.indexOf(path)), path]
    if (cleared.has(path) || !known.has(path)) return []
    for (const { target } of importsOf(path)) {
      const circle = search(`src/${target}.ts`, [...way, path])
      if (circle.length > 0) return circle
    }
    cleared.add(path)
    return []
  }
  for (const path of paths) {
    const circle = search(path, [])
    if (circle.length > 0) return circle
  }
  return []
}
