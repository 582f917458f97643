import { describe, expect, it } from '@jest/globals'
import { createHmac, randomBytes } from 'node:crypto'
import { SecretError } from './secret.ts'
import { createReportVerifier, loadSources, signReport, type SignedReportClaim } from './signature.ts'

const NOW_S = 1_800_000_000n
const SECRETS = { current: Buffer.alloc(32, 1), old: Buffer.alloc(32, 2), other: Buffer.alloc(64, 3) }
const base64 = (secret: Buffer): string => secret.toString('base64')
const FILE = JSON.stringify({
  sources: [
    { name: 'eth-1', algorithm: 'sha256', secrets: [base64(SECRETS.current), base64(SECRETS.old)] },
    { name: 'btc-1', algorithm: 'sha512', secrets: [base64(SECRETS.other)], reports_per_minute: 90 },
  ],
})
const verify = createReportVerifier({
  sources: loadSources(FILE, 'production'),
  now: () => Number(NOW_S) * 1_000 + 999,
})

const MESSAGE = { id: 'msg_1', timestampS: NOW_S, report: Buffer.from('report') }
const sha256 = { ...MESSAGE, algorithm: 'sha256', secret: SECRETS.current } as const
const signed = (changes: Partial<SignedReportClaim> = {}): SignedReportClaim => ({
  ...MESSAGE,
  source: 'eth-1',
  signatures: [signReport({ ...sha256, ...changes })],
  ...changes,
})

describe('signReport', () => {
  it('signs as Standard Webhooks does', () => {
    // The example of the Standard Webhooks specification's reference libraries.
    expect(
      signReport({
        secret: Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64'),
        algorithm: 'sha256',
        id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        timestampS: 1_614_265_330n,
        report: Buffer.from('{"test": 2432232314}'),
      }),
    ).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
  })
})

describe('a report is taken', () => {
  it.each<[string, SignedReportClaim]>([
    ['under the current secret', signed()],
    ['under an older secret', signed({ signatures: [signReport({ ...sha256, secret: SECRETS.old })] })],
    ['when one of its signatures is right', signed({ signatures: ['v1,x', signReport(sha256)] })],
    ['300 s late', signed({ timestampS: NOW_S - 300n })],
    ['300 s early', signed({ timestampS: NOW_S + 300n })],
    ['from a source of HMAC-SHA-512', signedBySha512()],
    ['of 1 KiB', signed({ report: randomBytes(1_024) })],
  ])('%s', (_case, claim) => {
    expect(() => verify(claim)).not.toThrow()
  })
})

describe('a report is refused', () => {
  const right = signReport(sha256)
  const md5 = createHmac('md5', SECRETS.current).update(`msg_1.${NOW_S}.report`).digest('base64')

  it.each<[string, SignedReportClaim]>([
    ['without a signature', signed({ signatures: [] })],
    ['with an empty signature', signed({ signatures: [''] })],
    ['of an unknown source', signed({ source: 'eth-2' })],
    ['of another source', signed({ source: 'btc-1' })],
    ['signed by another algorithm', signed({ signatures: [signReport({ ...sha256, algorithm: 'sha512' })] })],
    ['signed by a weak algorithm', signed({ signatures: [`v1,${md5}`] })],
    ['of another scheme', signed({ signatures: [right.replace('v1', 'v2')] })],
    ['without a scheme', signed({ signatures: [right.slice(3)] })],
    ['with a longer signature', signed({ signatures: [`${right}=`] })],
    ['with a shorter signature', signed({ signatures: [right.slice(0, -1)] })],
    ['with its right signature behind too many', signed({ signatures: ['v1,a', 'v1,b', 'v1,c', 'v1,d', right] })],
    ['under another id', signed({ id: 'msg_2', signatures: [right] })],
    ['with its parts cut elsewhere', signed({ id: `msg_1.${NOW_S}`, report: Buffer.from('x') })],
    ['with an empty id', signed({ id: '' })],
    ['301 s late', signed({ timestampS: NOW_S - 301n })],
    ['301 s early', signed({ timestampS: NOW_S + 301n })],
    ['with another time', signed({ timestampS: NOW_S + 1n, signatures: [right] })],
    ['cut short', signed({ report: Buffer.from('repor'), signatures: [right] })],
    ['with more behind it', signed({ report: Buffer.from('report '), signatures: [right] })],
  ])('%s', (_case, claim) => {
    expect(() => verify(claim)).toThrow(
      expect.objectContaining({
        reason: 'SIGNATURE_INVALID',
        message: 'The report carries no valid signature.',
        metadata: {},
      }),
    )
  })

  it('after any single-bit change of its 1,024 bytes', () => {
    const report = randomBytes(1_024)
    const claim = signed({ report })
    const isTaken = (bit: number): boolean => {
      const changed = Buffer.from(report)
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      try {
        verify({ ...claim, report: changed })
        return true
      } catch {
        return false
      }
    }
    expect(Array.from({ length: report.length * 8 }, (_, bit) => bit).filter(isTaken)).toEqual([])
  })
})

describe('report sources', () => {
  it('may have a limit of reports of their own', () => {
    const sources = loadSources(FILE, 'production')
    expect([...sources.values()].map(({ reportsPerMinute }) => reportsPerMinute)).toEqual([undefined, 90])
    const act = () => loadSources(FILE.replace(':90', ':0'), 'production')
    expect(act).toThrow('reports_per_minute')
  })

  it.each<[string, string]>([
    ['{"sources":[{"name":"Eth","algorithm":"sha256","secrets":["x"]}]}', 'report sources.sources.0.name'],
    ['{"sources":[{"name":"eth","algorithm":"sha1","secrets":["x"]}]}', 'report sources.sources.0.algorithm'],
    ['{"sources":[{"name":"eth","algorithm":"sha256","secrets":[]}]}', 'report sources.sources.0.secrets'],
    ['{"sources":[{"name":"eth","algorithm":"sha256","secrets":["eA=="]}]}', 'source eth has fewer than 32 bytes'],
    [FILE.replace('btc-1', 'eth-1'), 'a name is given twice'],
  ])('are refused: %s', (json, message) => {
    const act = () => loadSources(json, 'production')
    expect(act).toThrow(SecretError)
    expect(act).toThrow(message)
  })
})

function signedBySha512(): SignedReportClaim {
  const signature = signReport({ ...MESSAGE, secret: SECRETS.other, algorithm: 'sha512' })
  return { ...MESSAGE, source: 'btc-1', signatures: [signature] }
}
