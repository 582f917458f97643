// Checks the README and the pages: links, names and commands must exist.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { CONFIGURATION_PAGE, configurationText } from './support/configuration.ts'
import { PERMISSIONS_PAGE, permissionsText } from './support/permission.ts'
import { findSources, readSource, ROOT } from './support/source.ts'

const readme = readSource('README.md')

test.each([
  [CONFIGURATION_PAGE, configurationText],
  [PERMISSIONS_PAGE, permissionsText],
])('%s is what `npm run docs` writes', (page, textOf) => {
  expect(readSource(page)).toBe(textOf())
})

test.each(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', ...findSources('docs/**/*.md')])(
  'the links of %s lead somewhere',
  (page) => {
    const links = [...readSource(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link]) => link ?? '')
    expect(links.filter((link) => !existsSync(join(ROOT, page, '..', link)))).toEqual([])
  },
)

test('every npm script that a document names exists', () => {
  const { scripts } = JSON.parse(readSource('package.json')) as { scripts: Record<string, string> }
  const pages = [...findSources('*.md', 'docs/**/*.md'), '.ci/run'].map(readSource).join('\n')
  const named = [...pages.matchAll(/npm run (?:--silent )?([\w:]+)/g)].map(([, name]) => name ?? '')
  expect(named.filter((name) => !(name in scripts))).toEqual([])
})

test('every source file that a recipe names exists', () => {
  const recipes = readSource('docs/recipes.md')
  const paths = [...recipes.matchAll(/`((?:src|proto|docs|migrations|test)\/[\w/.-]+)`/g)].map(([, path]) => path ?? '')
  expect(paths.filter((path) => !path.includes('NNNN') && !existsSync(join(ROOT, path)))).toEqual([])
})

test('the TypeScript example compiles as it stands', () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  mkdirSync(join(ROOT, '.data'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, '.data/readme-'))
  try {
    writeFileSync(join(folder, 'example.ts'), example.replaceAll("'./src/", "'../../src/"))
    writeFileSync(join(folder, 'tsconfig.json'), '{ "extends": "../../tsconfig.json", "include": ["example.ts"] }')
    execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--project', folder])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
