// A name means one thing everywhere. CONTRIBUTING.md has the shapes of names.

import { expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

const SOURCES = findSources('src/**/*.ts').filter((path) => !/\.test\.ts$|\/gen\//.test(path))

/** What a file declares and exports; what it re-exports is declared elsewhere. */
const exportsOf = (path: string): Set<string> =>
  new Set(
    [...readSource(path).matchAll(/^export (?:async )?(?:const|function\*?|class|type) (\w+)/gm)].map(
      ([, name = '']) => name,
    ),
  )

test('no two files export the same name', () => {
  const files = new Map<string, string[]>()
  for (const path of SOURCES) for (const name of exportsOf(path)) files.set(name, [...(files.get(name) ?? []), path])
  expect([...files].filter(([, paths]) => paths.length > 1)).toEqual([])
})
