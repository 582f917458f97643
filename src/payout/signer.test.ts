import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { parseTransaction } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { z } from 'zod'
import type { PayoutTransaction } from '../domain/payout.ts'
import { createDevelopmentSigner } from './development_signer.ts'
import { createFileSigner, fileNameOf, SIGNED_FORMAT, UNSIGNED_FORMAT } from './file_signer.ts'
import type { SigningRequest } from './signer.ts'
import { readSigned, SignatureRefused, viemTransactionOf } from './transaction.ts'

const KEY = `0x${'4c'.repeat(32)}` as const
const OTHER_KEY = `0x${'5d'.repeat(32)}` as const
const account = privateKeyToAccount(KEY)
const TRANSACTION: PayoutTransaction = {
  chainId: 1,
  sender: account.address.toLowerCase(),
  nonce: 7,
  to: `0x${'1f'.repeat(20)}`,
  value: 10n ** 17n,
  gasLimit: 21_000n,
  maxFee: 30_000_000_000n,
  priorityFee: 1_000_000_000n,
}
const request = (overrides: Partial<SigningRequest> = {}): SigningRequest => ({
  ...{ payoutId: randomUUID(), attempt: 1, refundId: randomUUID(), network: 'ethereum', transaction: TRANSACTION },
  ...overrides,
})
const signed = (changes: object = {}): Promise<string> =>
  account.signTransaction({ ...viemTransactionOf(TRANSACTION), ...changes })

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-signer-'))
})
afterEach(() => rm(dir, { recursive: true }))

describe('a signature', () => {
  test('of the expected transaction is taken, with its transaction id', async () => {
    expect(await readSigned(await signed(), TRANSACTION)).toEqual({
      raw: await signed(),
      txId: expect.stringMatching(/^0x[0-9a-f]{64}$/),
    })
  })

  test.each<[field: string, changes: object]>([
    ['chain id', { chainId: 5 }],
    ['nonce', { nonce: 8 }],
    ['nonce', { nonce: 0 }],
    ['destination', { to: `0x${'2e'.repeat(20)}` }],
    ['destination', { to: null }],
    ['amount', { value: 10n ** 17n + 1n }],
    ['amount', { value: 0n }],
    ['data', { data: '0x00' }],
    ['access list', { accessList: [{ address: `0x${'2e'.repeat(20)}`, storageKeys: [] }] }],
    ['gas limit', { gas: 50_000n }],
    ['fee', { maxFeePerGas: 31_000_000_000n }],
    ['priority fee', { maxPriorityFeePerGas: 0n }],
  ])('of another %s is refused by its name', async (field, changes) => {
    await expect(readSigned(await signed(changes), TRANSACTION)).rejects.toThrow(
      new RegExp(`^the signed transaction has another .*${field}`),
    )
  })

  test('by another key is refused', async () => {
    const raw = await privateKeyToAccount(OTHER_KEY).signTransaction(viemTransactionOf(TRANSACTION))
    await expect(readSigned(raw, TRANSACTION)).rejects.toThrow(`it is not signed by ${TRANSACTION.sender}`)
  })

  test('of another kind of transaction is refused, and so is what is none', async () => {
    const { chainId, nonce, to, value, gas } = viemTransactionOf(TRANSACTION)
    const legacy = await account.signTransaction({ type: 'legacy', chainId, nonce, to, value, gas, gasPrice: 1n })
    const unsigned = (await signed()).slice(0, 40)
    for (const text of [legacy, unsigned, '', '0x02', 'word', `0x02${'00'.repeat(600)}`])
      await expect(readSigned(text, TRANSACTION)).rejects.toThrow(SignatureRefused)
  })

  test('with one bit changed anywhere is refused', async () => {
    const raw = await signed()
    for (let at = 4; at < raw.length; at += 1) {
      const digit = (parseInt(raw[at] ?? '0', 16) ^ 1).toString(16)
      const changed = raw.slice(0, at) + digit + raw.slice(at + 1)
      await expect(readSigned(changed, TRANSACTION)).rejects.toThrow(SignatureRefused)
    }
  })
})

describe('the development signer', () => {
  test('signs what is asked on a development chain, and nothing elsewhere', async () => {
    const signer = createDevelopmentSigner(`${KEY}\n`)
    const onAnvil = { ...TRANSACTION, chainId: 31_337 }
    const raw = await signer.sign(request({ transaction: onAnvil }))
    expect(await readSigned(raw ?? '', onAnvil)).toMatchObject({ raw })
    await expect(signer.sign(request())).rejects.toThrow('does not sign for chain 1')
  })

  test('takes no text that is no key, and does not quote it', () => {
    for (const text of ['', 'secret words', `0x${'0'.repeat(63)}`])
      expect(() => createDevelopmentSigner(text)).toThrow(/^it is not a private key: 0x and 64 lower-case hex digits$/)
  })
})

describe('the signer by files', () => {
  const answer = (asked: SigningRequest, changes: object = {}, raw = ''): Promise<void> =>
    writeFile(
      join(dir, 'signed', fileNameOf(asked)),
      JSON.stringify({ format: SIGNED_FORMAT, payoutId: asked.payoutId, attempt: 1, raw, ...changes }),
    )

  test('writes what is to be signed whole, takes the signed file, and then forgets the request', async () => {
    const asked = request()
    const signer = await createFileSigner({ dir, sender: TRANSACTION.sender })
    expect(await signer.sign(asked)).toBeUndefined()
    expect(await signer.sign(asked)).toBeUndefined()
    expect(await readdir(join(dir, 'unsigned'))).toEqual([fileNameOf(asked)])

    // A signer outside: it has the file and the key, and nothing of Holdfast.
    const file = z
      .object({ format: z.literal(UNSIGNED_FORMAT), unsigned: z.templateLiteral(['0x02', z.string()]) })
      .parse(JSON.parse(await readFile(join(dir, 'unsigned', fileNameOf(asked)), 'utf8')))
    const raw = await account.signTransaction(parseTransaction(file.unsigned))
    await answer(asked, {}, raw)
    const taken = await signer.sign(asked)
    expect(await readSigned(taken ?? '', TRANSACTION)).toMatchObject({ raw })
    await signer.forget(asked)
    expect(await readdir(join(dir, 'unsigned'))).toEqual([])
  })

  test('shows the signer every amount as decimal text, and where it goes', async () => {
    const asked = request()
    await (await createFileSigner({ dir, sender: TRANSACTION.sender })).sign(asked)
    expect(JSON.parse(await readFile(join(dir, 'unsigned', fileNameOf(asked)), 'utf8'))).toMatchObject({
      network: 'ethereum',
      transaction: {
        ...{ type: 2, chainId: 1, from: TRANSACTION.sender, nonce: 7, to: TRANSACTION.to, data: '0x' },
        ...{ value: '100000000000000000', gas: '21000', maxFeePerGas: '30000000000' },
      },
    })
  })

  test.each<[what: string, changes: object, message: RegExp]>([
    ['of another payout', { payoutId: randomUUID() }, /of another payout/],
    ['of another attempt', { attempt: 2 }, /of another payout/],
    ['of another format', { format: 'x' }, /not as expected: format/],
    ['with more than that', { note: 'x' }, /not as expected/],
  ])('refuses a file %s', async (_what, changes, message) => {
    const asked = request()
    const signer = await createFileSigner({ dir, sender: TRANSACTION.sender })
    await answer(asked, changes, await signed())
    await expect(signer.sign(asked)).rejects.toThrow(message)
  })

  test('refuses a file that is no JSON, or is too long', async () => {
    const asked = request()
    const signer = await createFileSigner({ dir, sender: TRANSACTION.sender })
    const path = join(dir, 'signed', fileNameOf(asked))
    await writeFile(path, '{')
    await expect(signer.sign(asked)).rejects.toThrow('the signed file is not JSON')
    await writeFile(path, ' '.repeat(10_000))
    await expect(signer.sign(asked)).rejects.toThrow('the file has more than 8192 bytes')
  })

  test('refuses a folder, a link and a pipe in place of a file, and waits for none of them', async () => {
    const signer = await createFileSigner({ dir, sender: TRANSACTION.sender })
    const strange: ((path: string) => unknown)[] = [
      (path) => mkdir(path),
      (path) => symlink(path, path),
      (path) => symlink('/dev/zero', path),
      (path) => execFileSync('mkfifo', [path]),
    ]
    for (const make of strange) {
      const asked = request()
      await make(join(dir, 'signed', fileNameOf(asked)))
      await expect(signer.sign(asked)).rejects.toThrow(SignatureRefused)
    }
  })

  test('finds its folders where they exist already', async () => {
    await mkdir(join(dir, 'signed'))
    await createFileSigner({ dir, sender: TRANSACTION.sender })
    expect((await readdir(dir)).toSorted()).toEqual(['signed', 'unsigned'])
  })
})
