import { expect, test } from '@jest/globals'
import { formatCoins, formatFields, formatTable, print } from './print.ts'

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
  expect(shown).toBe('name\nLamp [2J 31m  exit 0')
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
