// Signer by files, for keys that are not online: each unsigned transaction becomes a JSON file in one folder, and the
// signed one is taken from another. A person carries them to the machine with the key and back. Files are written
// atomically: a reader sees all of one or nothing.

import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { SignatureRefused, unsignedBytesOf } from './transaction.ts'
import type { Signer, SigningRequest } from './signer.ts'

export const UNSIGNED_FORMAT = 'holdfast-payout-unsigned-1'
export const SIGNED_FORMAT = 'holdfast-payout-signed-1'

/** A signed file has less than a kilobyte. */
const MAX_FILE_BYTES = 8_192
const OWNER_ONLY = 0o600

const SIGNED = z.strictObject({
  format: z.literal(SIGNED_FORMAT),
  payoutId: z.uuid(),
  attempt: z.number().int().positive(),
  raw: z.string(),
})
export type SignedPayout = z.output<typeof SIGNED>

/** What a signer needs to see and sign. Amounts are decimal text in base units. */
export const unsignedFileOf = ({ payoutId, attempt, refundId, network, transaction }: SigningRequest): string => {
  const { chainId, sender, nonce, to, value, gasLimit, maxFee, priorityFee } = transaction
  const shown = {
    ...{ type: 2, chainId, from: sender, nonce, to, value: String(value), gas: String(gasLimit) },
    ...{ maxFeePerGas: String(maxFee), maxPriorityFeePerGas: String(priorityFee), data: '0x', accessList: [] },
  }
  const file = { format: UNSIGNED_FORMAT, payoutId, attempt, refundId, network, transaction: shown }
  return `${JSON.stringify({ ...file, unsigned: unsignedBytesOf(transaction) }, null, 2)}\n`
}

export const fileNameOf = ({ payoutId, attempt }: Pick<SigningRequest, 'payoutId' | 'attempt'>): string =>
  `${payoutId}-${attempt}.json`

/** @throws {SignatureRefused} for anything but the file of a signed transaction */
export function parseSignedFile(text: string): SignedPayout {
  try {
    const result = SIGNED.safeParse(JSON.parse(text))
    if (result.success) return result.data
    const places = result.error.issues.map(({ path }) => path.join('.') || 'its root')
    throw new SignatureRefused(`the signed file is not as expected: ${[...new Set(places)].join(', ')}`)
  } catch (error) {
    if (error instanceof SignatureRefused) throw error
    throw new SignatureRefused('the signed file is not JSON')
  }
}

/** What open() says of the path itself: a loop of links, a socket, a file of another user. */
const STRANGE: readonly (string | undefined)[] = ['ELOOP', 'ENXIO', 'EACCES', 'EPERM']
// A pipe would block until something writes to it, and a link may lead anywhere.
const READ_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * The text of a regular file of a bounded size. Undefined: there is none.
 * @throws {SignatureRefused} for a longer one, and for what is no readable file, so that it stops only its own payout
 */
export async function readSmallFile(path: string): Promise<string | undefined> {
  const found = await open(path, READ_FILE).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    if (STRANGE.includes(error.code)) throw new SignatureRefused(`the file cannot be read: ${error.code}`)
    throw error
  })
  if (found === undefined) return undefined
  try {
    if (!(await found.stat()).isFile()) throw new SignatureRefused('it is not a regular file')
    const { bytesRead, buffer } = await found.read({ buffer: Buffer.alloc(MAX_FILE_BYTES + 1) })
    if (bytesRead > MAX_FILE_BYTES) throw new SignatureRefused(`the file has more than ${MAX_FILE_BYTES} bytes`)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await found.close()
  }
}

/** Writes a file that appears whole or not at all, also after a power cut. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}.tmp`
  const file = await open(draft, 'wx', OWNER_ONLY)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
}

/** @param options.dir has or gets the folders `unsigned` and `signed` */
export async function createFileSigner({ dir, sender }: { dir: string; sender: string }): Promise<Signer> {
  const [unsigned, signed] = [join(dir, 'unsigned'), join(dir, 'signed')]
  for (const folder of [unsigned, signed]) await mkdir(folder, { recursive: true, mode: 0o700 })
  return {
    sender: sender.toLowerCase(),
    sign: async (request) => {
      const name = fileNameOf(request)
      const answer = await readSmallFile(join(signed, name))
      if (answer === undefined) {
        const path = join(unsigned, name)
        const isThere = await stat(path).then(
          () => true,
          () => false,
        )
        if (!isThere) await writeWhole(path, unsignedFileOf(request))
        return undefined
      }
      const { payoutId, attempt, raw } = parseSignedFile(answer)
      if (payoutId !== request.payoutId || attempt !== request.attempt)
        throw new SignatureRefused('the signed file is of another payout')
      return raw
    },
    forget: async (request) => rm(join(unsigned, fileNameOf(request)), { force: true }),
  }
}
