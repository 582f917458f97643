import { expect, it } from '@jest/globals'
import { expandKey, stretchKey } from './derive.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

/** RFC 5869, appendix A, the SHA-256 cases; a shorter output is a prefix of a longer one. */
it.each([
  {
    name: 'test case 1',
    secret: '0b'.repeat(22),
    salt: '000102030405060708090a0b0c',
    info: 'f0f1f2f3f4f5f6f7f8f9',
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf',
  },
  {
    name: 'test case 2',
    secret: sequence(0x00, 80),
    salt: sequence(0x60, 80),
    info: sequence(0xb0, 80),
    okm: 'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c',
  },
  {
    name: 'test case 3',
    secret: '0b'.repeat(22),
    salt: '',
    info: '',
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d',
  },
])('HKDF-SHA-256 gives the published output of $name', ({ secret, salt, info, okm }) => {
  expect(expandKey(hex(secret), hex(salt), hex(info)).toString('hex')).toBe(okm)
})

/** The passwords and salts of RFC 6070 with SHA-512, as published for it; the first 32 of 64 bytes. */
it.each([
  [1, '867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252'],
  [2, 'e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c'],
  [4_096, 'd197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5'],
])('PBKDF2-HMAC-SHA-512 gives the published output after %i iterations', async (iterations, derived) => {
  const key = await stretchKey(Buffer.from('password'), Buffer.from('salt'), iterations)
  expect(key.toString('hex')).toBe(derived)
})

it('PBKDF2-HMAC-SHA-512 gives the published output of a long password and salt', async () => {
  const key = await stretchKey(
    Buffer.from('passwordPASSWORDpassword'),
    Buffer.from('saltSALTsaltSALTsaltSALTsaltSALTsalt'),
    4_096,
  )
  expect(key.toString('hex')).toBe('8c0511f4c6e597c6ac6315d8f0362e225f3c501495ba23b868c005174dc4ee71')
})

function sequence(from: number, length: number): string {
  return Buffer.from(Array.from({ length }, (_, index) => from + index)).toString('hex')
}
