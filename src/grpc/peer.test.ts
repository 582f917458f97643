import { describe, expect, test } from '@jest/globals'
import { createAddressSet, createPeerOf } from './peer.ts'

describe('a set of addresses', () => {
  const set = createAddressSet(['10.0.0.0/8', '192.0.2.7/32', 'fd00::/8', '2001:db8::1/128'])

  test.each(['10.0.0.1', '10.255.255.255', '192.0.2.7', 'fd12::1', '2001:db8::1'])('has %s', (address) => {
    expect(set.has(address)).toBe(true)
  })

  test.each(['::ffff:10.0.0.1', '::FFFF:10.0.0.1', '::ffff:0a00:0001', '0:0:0:0:0:ffff:10.0.0.1'])(
    'has the IPv4 address that %s maps',
    (address) => {
      expect(set.has(address)).toBe(true)
    },
  )

  test.each(['2001:DB8:0:0::1', '2001:0db8::0001', 'fd00::1%eth0'])('has %s in any spelling', (address) => {
    expect(set.has(address)).toBe(true)
  })

  test.each(['11.0.0.1', '192.0.2.8', '::ffff:11.0.0.1', '::10.0.0.1', '64:ff9b::10.0.0.1', 'fe80::1', '2001:db8::2'])(
    'does not have %s',
    (address) => {
      expect(set.has(address)).toBe(false)
    },
  )

  test.each([
    '',
    'localhost',
    '10.0.0',
    '010.0.0.1',
    '0x0a.0.0.1',
    '167772161',
    '10.0.0.1:80',
    '[fd00::1]',
    ' 10.0.0.1',
  ])('does not have «%s», which is no address', (text) => {
    expect(set.has(text)).toBe(false)
  })

  test('is empty without networks', () => {
    const nobody = createAddressSet([])
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '']) expect(nobody.has(address)).toBe(false)
  })

  test('of all IPv6 addresses holds no IPv4 address, however it is written', () => {
    const ipv6 = createAddressSet(['::/0'])
    expect(ipv6.has('2001:db8::1')).toBe(true)
    expect(ipv6.has('10.0.0.1')).toBe(false)
    expect(ipv6.has('::ffff:10.0.0.1')).toBe(false)
  })
})

describe('the address of a client', () => {
  const PROXY = '10.0.0.1'
  const peerOf = createPeerOf(createAddressSet(['10.0.0.0/24', 'fd00::/8']))
  const through = (...hops: string[]) => peerOf(PROXY, [hops.join(',')])

  test.each([
    ['198.51.100.9', '198.51.100.9'],
    ['::ffff:198.51.100.9', '198.51.100.9'],
    ['2001:DB8::0:1', '2001:db8::1'],
  ])('is that of the socket, %s, as %s', (socket, address) => {
    expect(peerOf(socket, [])).toEqual({ address, isKnown: true })
  })

  test('is that of the socket, whatever the header says, unless the socket is a trusted proxy', () => {
    for (const header of ['10.0.0.1', '127.0.0.1', '198.51.100.1, 10.0.0.2', 'garbage', ''])
      expect(peerOf('198.51.100.9', [header])).toEqual({ address: '198.51.100.9', isKnown: true })
  })

  test('is what the trusted proxy appended, not what the client wrote before it', () => {
    expect(through('127.0.0.1', '198.51.100.9')).toEqual({ address: '198.51.100.9', isKnown: true })
    expect(through('10.0.0.7', 'garbage', ' 198.51.100.9 ')).toEqual({ address: '198.51.100.9', isKnown: true })
    expect(through('::ffff:198.51.100.9')).toEqual({ address: '198.51.100.9', isKnown: true })
  })

  test('is looked for behind several trusted proxies, of both families', () => {
    expect(through('127.0.0.1', '198.51.100.9', 'fd00::2', '10.0.0.7')).toEqual({
      address: '198.51.100.9',
      isKnown: true,
    })
    expect(peerOf('::ffff:10.0.0.1', ['198.51.100.9'])).toEqual({ address: '198.51.100.9', isKnown: true })
  })

  test('is the first hop where all of them are trusted, and the proxy’s own without a header', () => {
    expect(through('10.0.0.8', '10.0.0.7')).toEqual({ address: '10.0.0.8', isKnown: true })
    expect(peerOf(PROXY, [])).toEqual({ address: PROXY, isKnown: true })
  })

  test.each(['', ' ', ',', 'unknown', '198.51.100.9:4711', '[2001:db8::1]', '_hidden', '198.51.100.9,', '198.51.100'])(
    'is not known where the proxy wrote «%s»',
    (header) => {
      expect(peerOf(PROXY, [header])).toEqual({ address: PROXY, isKnown: false })
    },
  )

  test('is not known where there are two headers, and where the socket has no address', () => {
    expect(peerOf(PROXY, ['198.51.100.9', '198.51.100.8'])).toEqual({ address: PROXY, isKnown: false })
    expect(peerOf(undefined, ['198.51.100.9'])).toEqual({ address: '', isKnown: false })
  })

  test('is that of the socket where no proxy is trusted', () => {
    expect(createPeerOf(createAddressSet([]))(PROXY, ['127.0.0.1'])).toEqual({ address: PROXY, isKnown: true })
  })
})
