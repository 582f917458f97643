// No floating point in money: amounts are bigint base units or decimal strings, in all of src.

import { expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

const MONEY = String.raw`\w*(?:amount|balance|price|dust|refund|due|minor|wei)\w*`
const FLOATS: Readonly<Record<string, RegExp>> = {
  'a field or variable of money is a number': new RegExp(String.raw`\b${MONEY}\??: number\b`, 'i'),
  'money is turned into a number': new RegExp(String.raw`\b(?:Number|parseInt)\((?:\w+[?.]+)*${MONEY}\)`, 'i'),
  'text is parsed as a floating point number': /\bparseFloat\b/,
  'money is rounded to decimals': new RegExp(String.raw`\b${MONEY}\)*\.to(?:Fixed|Precision)\(`, 'i'),
}
/** Where money is judged: no literal has a decimal point. */
const JUDGES = ['src/domain/{money,payment,assessment,late,stock}.ts', 'src/db/{payment,late,asset_rate}.ts']
const DECIMAL = /(?<![\w.'"`])\d+\.\d+(?![\w.'"`])/

const codeOf = (path: string): string =>
  readSource(path)
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\/\/.*$/gm, '')
const lint = (): { overrides: { files: string[]; rules: Record<string, unknown> }[] } =>
  JSON.parse(readSource('.oxlintrc.json').replaceAll(/^\s*\/\/.*$/gm, '')) as ReturnType<typeof lint>

test.each(Object.entries(FLOATS))('nowhere in src: %s', (_, pattern) => {
  const paths = findSources('src/**/*.ts').filter((path) => !path.includes('/gen/') && !path.endsWith('.test.ts'))
  expect(paths.filter((path) => pattern.test(codeOf(path)))).toEqual([])
})

test('the files that judge money hold no number with a decimal point', () => {
  expect(findSources(...JUDGES).length).toBeGreaterThanOrEqual(8)
  expect(findSources(...JUDGES).filter((path) => DECIMAL.test(codeOf(path)))).toEqual([])
})

test.each([
  ['const fee = amount * 0.999', DECIMAL],
  ['type Quote = { amountDue: number }', FLOATS['a field or variable of money is a number']],
  ['const paid = Number(row.amount)', FLOATS['money is turned into a number']],
])('floating point money is found: %s', (code, pattern) => {
  expect(pattern?.test(code)).toBe(true)
})

test('lint forbids parseFloat in every room, that of the domain included', () => {
  const fences = lint().overrides.filter(({ rules }) => 'no-restricted-globals' in rules)
  const rooms = fences.filter(({ files }) => files.some((file) => file.startsWith('src/')))
  expect(rooms.length).toBeGreaterThanOrEqual(2)
  for (const { rules } of rooms) {
    expect(JSON.stringify(rules['no-restricted-globals'])).toContain('"parseFloat"')
    expect(JSON.stringify(rules['no-restricted-properties'])).toContain('"parseFloat"')
  }
})
