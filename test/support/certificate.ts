// X.509 certificates for tests, made in memory: Node can sign and read certificates, and only lacks the encoder.

import { createPublicKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'

const SIGNED_BY = '1.2.840.10045.4.3.2' // ecdsa-with-SHA256
const COMMON_NAME = '2.5.4.3'
const SUBJECT_ALT_NAME = '2.5.29.17'
const BASIC_CONSTRAINTS = '2.5.29.19'
const DAY_MS = 86_400_000
const SHORT_FORM = 128

/** One DER element: its tag, its length, its content. */
function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  if (body.length < SHORT_FORM) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length = Buffer.from(body.length.toString(16).padStart(4, '0'), 'hex')
  return Buffer.concat([Buffer.from([tag, SHORT_FORM + length.length]), length, body])
}

const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts)

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const part of rest) {
    const groups = [part & 0x7f]
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return der(0x06, Buffer.from(bytes))
}

const nameOf = (text: string): Buffer => sequence(der(0x31, sequence(oid(COMMON_NAME), der(0x0c, Buffer.from(text)))))
const timeOf = (time: Date): Buffer =>
  der(0x18, Buffer.from(`${time.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`))
const algorithm = sequence(oid(SIGNED_BY))

export type TestCertificate = { cert: string; key: string; authority: { name: string; key: KeyObject } }

export type CertificateOptions = {
  name?: string
  dns?: readonly string[]
  uris?: readonly string[]
  from?: Date
  to?: Date
  /** Absent: it signs itself. */
  issuer?: TestCertificate
  isAuthority?: boolean
}

/** A certificate and its key in PEM, valid for localhost and 127.0.0.1 from yesterday until tomorrow. */
export function makeCertificate(options: CertificateOptions = {}): TestCertificate {
  const { name = 'holdfast test', dns = ['localhost'], uris = [], isAuthority = false } = options
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const signer = options.issuer?.authority ?? { name, key: privateKey }
  const names = [
    ...dns.map((each) => der(0x82, Buffer.from(each))),
    ...uris.map((each) => der(0x86, Buffer.from(each))),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  ]
  const extensions = [
    sequence(oid(SUBJECT_ALT_NAME), der(0x04, sequence(...names))),
    ...(isAuthority ? [sequence(oid(BASIC_CONSTRAINTS), der(0x04, sequence(der(0x01, Buffer.from([0xff])))))] : []),
  ]
  const toSign = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    nameOf(signer.name),
    sequence(
      timeOf(options.from ?? new Date(Date.now() - DAY_MS)),
      timeOf(options.to ?? new Date(Date.now() + DAY_MS)),
    ),
    nameOf(name),
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const signature = sign('sha256', toSign, signer.key)
  const bytes = sequence(toSign, algorithm, der(0x03, Buffer.from([0]), signature))
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    authority: { name, key: privateKey },
  }
}
