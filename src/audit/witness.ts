// The file of checkpoints: a witness outside the database, which no database role can change. One line of JSON per
// checkpoint, on disk before anyone is notified. A copy elsewhere also protects against the administrator of this
// machine.

import { createReadStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import type { Checkpoint } from '../domain/checkpoint.ts'

const OWNER_ONLY = 0o600
/** More than a few lines. */
const TAIL_BYTES = 65_536
const LINE_FEED = 0x0a

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const big = z
  .string()
  .regex(/^(0|[1-9]\d{0,19})$/)
  .transform(BigInt)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
export const CHECKPOINT = z.strictObject({
  no: count,
  continues: count,
  size: count,
  root: sha256,
  afterEntryId: big,
  lastEntryId: big,
  belowTxid: big,
  at: z.iso.datetime({ precision: 3 }),
  previous: sha256,
  keyId: z.string().regex(/^[0-9a-f]{16}$/),
  signature: z.base64().length(88),
})

/** A line is not a checkpoint: the file was changed, or is a different one. */
export class WitnessError extends Error {
  override readonly name = 'WitnessError'
}

/** One canonical spelling per checkpoint. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  const fields = Object.keys(CHECKPOINT.shape) as (keyof Checkpoint)[]
  return JSON.stringify(Object.fromEntries(fields.map((field) => [field, jsonOf(checkpoint[field])])))
}

const jsonOf = (value: number | bigint | string): number | string => (typeof value === 'bigint' ? String(value) : value)

/** Throws WitnessError. */
function parseLine(line: string, where: string): Checkpoint {
  try {
    return CHECKPOINT.parse(JSON.parse(line))
  } catch {
    throw new WitnessError(`${where} is not a checkpoint`)
  }
}

/**
 * Reads the checkpoints of a file in order. A repeated line counts once; an incomplete last line is ignored. Throws
 * WitnessError, ENOENT.
 */
export async function* readWitness(path: string): AsyncGenerator<Checkpoint> {
  const end = await endOf(path)
  if (end === 0) return
  const lines = createInterface({ input: createReadStream(path, { end: end - 1 }), crlfDelay: Infinity })
  let number = 0
  let before = ''
  for await (const line of lines) {
    number += 1
    if (line === before) continue
    before = line
    yield parseLine(line, `line ${number} of ${path}`)
  }
}

export type Witness = {
  last: () => Checkpoint | undefined
  /** Reads what other processes have appended since. */
  refresh: () => Promise<void>
  /** Resolves once the line is on disk. */
  append: (checkpoint: Checkpoint) => Promise<void>
  close: () => Promise<void>
}

/**
 * Opens or creates the file for appending, and removes an incomplete last line left by a crash. Throws WitnessError.
 */
export async function openWitness(path: string): Promise<Witness> {
  const file = await open(path, 'a+', OWNER_ONLY)
  try {
    await file.chmod(OWNER_ONLY)
    const { last, end } = await tailOf(file, path)
    await file.truncate(end)
    await syncFolder(dirname(path))
    return witnessOf(file, path, last, end)
  } catch (error) {
    await file.close()
    throw error
  }
}

function witnessOf(file: FileHandle, path: string, found: Checkpoint | undefined, foundEnd: number): Witness {
  let [last, end] = [found, foundEnd]
  return {
    last: () => last,
    refresh: async () => {
      if ((await file.stat()).size !== end) ({ last, end } = await tailOf(file, path))
    },
    append: async (checkpoint) => {
      const line = Buffer.from(`${formatCheckpoint(checkpoint)}\n`)
      const { size } = await file.stat()
      try {
        await file.appendFile(line)
        await file.sync()
      } catch (error) {
        // On a full disk a part may be written: the next line must not continue it.
        await file.truncate(size).catch(() => undefined)
        throw error
      }
      last = checkpoint
      end = size + line.length
    },
    close: () => file.close(),
  }
}

/** The last complete line, and where it ends. */
async function tailOf(file: FileHandle, path: string): Promise<{ last: Checkpoint | undefined; end: number }> {
  const { size } = await file.stat()
  const start = Math.max(0, size - TAIL_BYTES)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start)
  const tail = buffer.subarray(0, bytesRead)
  const end = tail.lastIndexOf(LINE_FEED)
  if (end === -1) {
    if (start > 0) throw new WitnessError(`${path} does not end in checkpoints`)
    return { last: undefined, end: 0 }
  }
  const line = tail.subarray(end === 0 ? 0 : tail.lastIndexOf(LINE_FEED, end - 1) + 1, end).toString('utf8')
  return { last: parseLine(line, `the last line of ${path}`), end: start + end + 1 }
}

async function endOf(path: string): Promise<number> {
  const file = await open(path, 'r')
  try {
    return (await tailOf(file, path)).end
  } finally {
    await file.close()
  }
}

/** Syncs the folder, so that the name of a new file is on disk too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
