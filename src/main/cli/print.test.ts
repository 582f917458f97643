import { expect, test } from '@jest/globals'
import { formatCoins, formatFields, formatJson, formatTable, print, printable } from './print.ts'

test('a table aligns words to the left and numbers to the right, under the names of the first row', () => {
  const rows = [
    { product: 'lamp', available: 8, reason: null },
    { product: 'oak-chair', available: 120, reason: 'sold' },
  ]
  expect(formatTable(rows)).toBe(
    ['product    available  reason', 'lamp               8  –', 'oak-chair        120  sold'].join('\n'),
  )
})

test('a table without rows says so', () => {
  expect(formatTable([])).toBe('(none)')
})

test('fields stand under each other', () => {
  expect(formatFields({ order: 'a', 'pay until': 'b' })).toBe('order      a\npay until  b')
})

test('text from elsewhere cannot steer the terminal', () => {
  const shown = formatTable([{ name: 'Lamp\u001b[2J\u009b31m\r\nexit 0' }])
  expect(shown).toBe('name\nLamp  exit 0')
})

test('base units are shown as coins, and what is unknown as it is', () => {
  expect(formatCoins('ETH', '54000000000000000')).toBe('0.054 ETH')
  expect(formatCoins('BTC', '1')).toBe('0.00000001 BTC')
  expect(formatCoins('XMR', '7')).toBe('7 of XMR')
  expect(formatCoins('ETH', '-1')).toBe('-1 of ETH')
})

test('JSON is printed instead of the text for people, which is then not even made', () => {
  const written: string[] = []
  const output = { json: true, write: (text: string) => void written.push(text) }
  print(output, { status: 'pending' }, () => {
    throw new Error('not wanted')
  })
  expect(written.join('')).toBe('{\n  "status": "pending"\n}\n')
})

test.each([
  ['colours', 'a\u001b[31mb\u001b[0mc', 'abc'],
  ['an eight-bit sequence', 'a\u009b2Jb', 'ab'],
  ['a window title', 'a\u001b]0;owned\u0007b', 'ab'],
  ['a link', 'a\u001b]8;;http://evil\u001b\\b', 'ab'],
  ['a clipboard write', 'a\u009d52;c;ZXZpbA==\u009cb', 'ab'],
  ['an unfinished string', 'a\u001b]0;rest', 'a'],
  ['a device string', 'a\u001bP1$r\u001b\\b', 'ab'],
  ['a reset', 'a\u001bcb', 'ab'],
  ['a bell, a backspace and a carriage return', 'a\u0007b\bc\rd', 'a b c d'],
  ['a change of direction', 'a\u202eb\u2066c\u061cd', 'a b c d'],
  ['hidden characters', 'a\u200bb\u{e0041}c\ufeffd', 'a b c d'],
  ['a separator of lines', 'a\u2028b', 'a b'],
])('text for a terminal loses %s', (_what, text, shown) => {
  expect(printable(text)).toBe(shown)
})

test('lines, tabs, accents, joined letters and emoji stay', () => {
  const text = 'Größe\tनमस्ते\nمی\u200cخواهم 👩\u200d🚀 日本'
  expect(printable(text)).toBe(text)
})

test('JSON escapes what would steer a terminal, and still means the same', () => {
  const value = { name: 'a\u001b[31m\u009b2J\u202e\u{e0041}b\u2028' }
  const text = formatJson(value)
  expect(text).toMatch(/^[\n -~]+$/)
  expect(JSON.parse(text)).toEqual(value)
  expect(printable(text)).toBe(text)
})
