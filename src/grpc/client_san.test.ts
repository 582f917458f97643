import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import type { Principal } from '../domain/access.ts'
import { hasBoundSan, parseClientSans, urisOf } from './client_san.ts'

const URI = 'spiffe://shop.example/watcher-1'
const SANS = parseClientSans(JSON.stringify({ clients: [{ subject: 'watcher-1', uri: URI }] }))
const machine = (subject: string, role: 'watcher' | 'service' = 'watcher'): Principal => ({
  subject,
  userId: undefined,
  roles: [role],
  tokenId: 't',
})

describe('a machine that is bound to a certificate', () => {
  test.each<[string, string | undefined, boolean]>([
    ['its URI', `URI:${URI}`, true],
    ['its URI among other names', `DNS:shop.example, URI:${URI}, IP Address:10.0.0.1`, true],
    ['no certificate', undefined, false],
    ['a certificate without names', '', false],
    ['the URI of another', 'URI:spiffe://shop.example/watcher-2', false],
    ['a longer URI', `URI:${URI}0`, false],
    ['a shorter URI', `URI:${URI.slice(0, -1)}`, false],
    ['its URI in upper case', `URI:${URI.toUpperCase()}`, false],
    ['its URI as a name of a host', `DNS:${URI}`, false],
    ['its URI inside another name', `DNS:"a, URI:${URI}"`, false],
    ['its URI inside another URI', `URI:"http://a/, URI:${URI}"`, false],
    ['its URI behind a quote that is escaped', `DNS:"a\\", URI:${URI}"`, false],
    ['its URI in quotes', `URI:"${URI}"`, false],
  ])('is admitted with %s: %s', (_case, names, isAdmitted) => {
    const certificate = names === undefined ? undefined : { subjectaltname: names }
    expect(hasBoundSan(SANS, machine('watcher-1'), certificate)).toBe(isAdmitted)
    expect(hasBoundSan(SANS, machine('watcher-1', 'service'), certificate)).toBe(isAdmitted)
  })
})

test('people, and machines that are bound to none, need no certificate', () => {
  expect(hasBoundSan(SANS, machine('watcher-2'), undefined)).toBe(true)
  expect(hasBoundSan(undefined, machine('watcher-1'), undefined)).toBe(true)
  expect(hasBoundSan(SANS, { subject: '7', userId: 7n, roles: ['customer'], tokenId: 't' }, undefined)).toBe(true)
})

test('names of other kinds, and what Node puts in quotes, are no URIs', () => {
  expect(urisOf('DNS:a, URI:b:c, email:x@y, othername:<unsupported>, URI:"d, URI:e", URI:f')).toEqual(['b:c', 'f'])
})

test.each([
  '{',
  '{}',
  '{"clients":[]}',
  '{"clients":[{"subject":"A","uri":"spiffe://a/b"}]}',
  '{"clients":[{"subject":"a","uri":"b"}]}',
  '{"clients":[{"subject":"a","uri":"spiffe://a/b"},{"subject":"a","uri":"spiffe://a/c"}]}',
])('a file of bindings that is not one is refused: %s', (json) => {
  expect(() => parseClientSans(json)).toThrow()
})

/** With the URI of watcher-1, and with a URI and a host name that contain what looks like those of watcher-2 and -3. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUygAwIBAgIUeG6U7HiphxGt+07W0BszmnX0Kf4wBQYDK2VwMAwxCjAI
BgNVBAMMAXgwIBcNMjYxMTI3MTMzMzIwWhgPMjEyNjExMDMxMzMzMjBaMAwxCjAI
BgNVBAMMAXgwKjAFBgMrZXADIQDIBNciGxPrPO9iNrRbgaBQiYWkpJG4Z18khvtY
krNtwqOBvTCBujCBmAYDVR0RBIGQMIGNggxzaG9wLmV4YW1wbGWGH3NwaWZmZTov
L3Nob3AuZXhhbXBsZS93YXRjaGVyLTGGLmh0dHA6Ly9hLywgVVJJOnNwaWZmZTov
L3Nob3AuZXhhbXBsZS93YXRjaGVyLTKCJmIsIFVSSTpzcGlmZmU6Ly9zaG9wLmV4
YW1wbGUvd2F0Y2hlci0zhwQKAAABMB0GA1UdDgQWBBQ2PUvHD1w2ybNX2+LgbXhn
a3obHTAFBgMrZXADQQCFNaNV7Zmd7Y3uiErCTeRNW7wAAaZtzDK2HmOIovcr4U80
A3+n+8SYXUbCUsOIIfxXbduMsULRzmGdNBI0wrAC
-----END CERTIFICATE-----`

test('a certificate whose names imitate others proves its own name alone', () => {
  expect(urisOf(new X509Certificate(CERTIFICATE).subjectAltName ?? '')).toEqual([URI])
})
