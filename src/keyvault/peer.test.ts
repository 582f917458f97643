import { randomBytes } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { createPeerHash } from './peer.ts'

const peerHashOf = createPeerHash(randomBytes(32))

test('an address has one hash, and another address another', () => {
  expect(peerHashOf('192.0.2.7')).toMatch(/^[0-9a-f]{64}$/)
  expect(peerHashOf('192.0.2.7')).toBe(peerHashOf('192.0.2.7'))
  expect(peerHashOf('192.0.2.8')).not.toBe(peerHashOf('192.0.2.7'))
  expect(peerHashOf('::ffff:1')).not.toBe(peerHashOf('1'))
})

test('under another secret an address has another hash', () => {
  expect(createPeerHash(randomBytes(32))('192.0.2.7')).not.toBe(peerHashOf('192.0.2.7'))
})
