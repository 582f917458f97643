import { randomBytes, randomUUID } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { createPayLinks, loadPayLinkSecrets, PAY_LINK_LIFE_MS } from './pay_link.ts'

const createdAt = new Date('2026-11-27T12:00:00.250Z')
const [older, newer] = [randomBytes(32), randomBytes(32)]
const links = createPayLinks([newer])
const order = { orderId: randomUUID(), createdAt }

test('a link opens its order, is the same each time, and has the same length for every order', () => {
  const token = links.tokenOf(order)
  expect(token).toMatch(/^[\w-]{48}$/)
  expect(links.tokenOf(order)).toBe(token)
  expect(links.open(token, createdAt)).toBe(order.orderId)
  expect(links.tokenOf({ ...order, orderId: randomUUID() })).not.toBe(token)
})

test('a link ends 30 days after its order', () => {
  const token = links.tokenOf(order)
  const end = createdAt.getTime() + PAY_LINK_LIFE_MS
  expect(links.open(token, new Date(end - 1_000))).toBe(order.orderId)
  expect(links.open(token, new Date(end))).toBeUndefined()
})

test('a link with any bit changed opens nothing', () => {
  const bytes = Buffer.from(links.tokenOf(order), 'base64url')
  const opened = Array.from({ length: bytes.length * 8 }, (_, bit) => {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    return links.open(changed.toString('base64url'), createdAt)
  })
  expect(new Set(opened)).toEqual(new Set([undefined]))
})

test.each([
  '',
  'x',
  'A'.repeat(47),
  'A'.repeat(48),
  'A'.repeat(49),
  `${'A'.repeat(47)}=`,
  'é'.repeat(48),
  '../'.repeat(16),
])('the text %j opens nothing', (text) => {
  expect(links.open(text, createdAt)).toBeUndefined()
})

test('links of an older secret open while it is listed, and new links are made with the newest', () => {
  const before = createPayLinks([older]).tokenOf(order)
  const both = createPayLinks([newer, older])
  expect(both.open(before, createdAt)).toBe(order.orderId)
  expect(both.tokenOf(order)).toBe(links.tokenOf(order))
  expect(links.open(before, createdAt)).toBeUndefined()
})

test('secrets are read one per line; too many, none, a short or a development one are refused', () => {
  const [one, two] = [older, newer].map((secret) => secret.toString('base64'))
  expect(loadPayLinkSecrets('file', `${one}\n${two}\n`, 'production')).toEqual([older, newer])
  const marked = Buffer.concat([Buffer.from('development-'), older]).toString('base64')
  for (const text of ['', `${one}\n`.repeat(5), 'c2hvcnQ=', 'not base64', marked])
    expect(() => loadPayLinkSecrets('file', text, 'production')).toThrow(/^file/)
})
