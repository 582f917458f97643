import { describe, expect, it } from '@jest/globals'
import { loadRing } from './ring.ts'
import { SecretError } from './secret.ts'

const secretOf = (byte: number, length = 32): string => Buffer.alloc(length, byte).toString('base64')
const fileOf = (primary: number, ...versions: [number, string][]): string =>
  JSON.stringify({ primary, versions: versions.map(([version, secret]) => ({ version, secret })) })

describe('loadRing', () => {
  it('gives the secret of each version it holds', () => {
    const ring = loadRing('key ring', fileOf(2, [1, secretOf(1)], [2, secretOf(2, 64)]), 'production')
    expect(ring.primary).toBe(2)
    expect(ring.secretOf(1)).toEqual(Buffer.alloc(32, 1))
    expect(ring.secretOf(2)).toEqual(Buffer.alloc(64, 2))
    expect(() => ring.secretOf(3)).toThrow('key ring does not contain version 3')
  })

  it('shows no secret when it is written down', () => {
    const ring = loadRing('key ring', fileOf(2, [1, secretOf(1)], [2, secretOf(2)]), 'production')
    expect(JSON.stringify(ring)).toBe('{"primary":2}')
  })

  it('takes one version in development', () => {
    const development = Buffer.from('development-'.padEnd(32, 'x')).toString('base64')
    expect(loadRing('key ring', fileOf(1, [1, development]), 'development').primary).toBe(1)
  })

  it.each<[string, string, string]>([
    ['not JSON', 'ring', 'key ring is not JSON'],
    ['no versions', '{"primary":1}', 'invalid or missing: key ring.versions'],
    ['version 0', fileOf(1, [0, secretOf(1)], [1, secretOf(2)]), 'invalid or missing: key ring.versions.0.version'],
    ['a secret of 31 bytes', fileOf(2, [1, secretOf(1, 31)], [2, secretOf(2)]), 'version 1 has fewer than 32 bytes'],
    ['a version twice', fileOf(1, [1, secretOf(1)], [1, secretOf(2)]), 'a version or a secret twice'],
    ['a secret twice', fileOf(1, [1, secretOf(1)], [2, secretOf(1)]), 'a version or a secret twice'],
    ['no primary', fileOf(3, [1, secretOf(1)], [2, secretOf(2)]), 'does not contain its primary version'],
    ['one version', fileOf(1, [1, secretOf(1)]), 'needs at least 2 versions in production'],
    [
      'a development value',
      fileOf(1, [1, Buffer.from('development-'.padEnd(32, 'x')).toString('base64')], [2, secretOf(2)]),
      'version 1 is a development value',
    ],
    ['other parts', JSON.stringify({ primary: 1, versions: [], x: 1 }), 'invalid or missing: key ring'],
  ])('refuses in production a file with %s, showing nothing of it', (_case, json, message) => {
    const act = () => loadRing('key ring', json, 'production')
    expect(act).toThrow(SecretError)
    expect(act).toThrow(message)
    expect(act).not.toThrow(/AQEB|ZGV2/)
  })
})
