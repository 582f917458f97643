// The words of the house: what CONTRIBUTING.md rules out is searched in each text that holds to it.

import { describe, expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

/**
 * Texts that hold to the words of CONTRIBUTING.md. Not listed: `*.test.ts` and what quotes their titles,
 * src/servers/account.ts (it names the Unix account `nobody`), migrations that have landed, and the changelog.
 */
const PLAIN = [
  'proto/holdfast/**/*.proto',
  'ops/**/*.{yaml,sh,sql,mjs}',
  'docs/{operations,payments,order-states,configuration,recipes,permissions,http2}.md',
  'docs/decisions/00{28,29,30,31,32,33,34}-*.md',
  'docker-compose.yml',
  '{README,ARCHITECTURE,CONTRIBUTING}.md',
  'migrations/function/*.sql',
  'src/**/*.ts',
  'bench/**/*.ts',
  'tools/**/*.{mjs,go}',
  'test/support/**/*.ts',
]
const UNPLAIN = /\.test\.ts$|\/gen\/|^src\/servers\/account\.ts$|^test\/support\/control\.ts$/

describe('words', () => {
  /** The section «Words» of CONTRIBUTING.md, and the right column of its table. */
  const section = /^## Words\n[\s\S]*?^(?=## )/m.exec(readSource('CONTRIBUTING.md'))?.[0] ?? ''
  const banned = [...section.matchAll(/^\| (?!write|---).+ \| (.+) \|$/gm)].flatMap(([, words = '']) =>
    words.split(', '),
  )

  test('CONTRIBUTING.md lists words that are not used', () => {
    expect(banned).toEqual(expect.arrayContaining(['whoever', 'nobody', 'anew', 'at one with', 'of ours']))
  })

  test('no listed text holds a word that CONTRIBUTING.md rules out', () => {
    const pattern = new RegExp(`\\b(${banned.map((words) => words.replaceAll(' ', '\\s+')).join('|')})\\b`, 'gi')
    const found = findSources(...PLAIN)
      .filter((path) => !UNPLAIN.test(path))
      .flatMap((path) => {
        // A line break within a comment may separate two words.
        const text = readSource(path)
          .replace(section, '')
          .replaceAll(/\n\s*(\/\/|\*|--|#)?\s*/g, ' ')
        return [...text.matchAll(pattern)].map(
          ({ index }) => `${path}: …${text.slice(Math.max(0, index - 40), index + 30)}`,
        )
      })
    expect(found).toEqual([])
  })
})
