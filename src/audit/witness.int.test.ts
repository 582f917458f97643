// The file of checkpoints on a real file system: what a crash or a full disk leaves must not be built on.

import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Checkpoint } from '../domain/checkpoint.ts'
import { formatCheckpoint, openWitness, readWitness, WitnessError } from './witness.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-witness-'))
})
afterAll(() => rm(folder, { recursive: true }))

const checkpointOf = (no: number): Checkpoint => ({
  ...{ no, continues: no - 1, size: no, root: 'ab'.repeat(32), afterEntryId: 0n, lastEntryId: BigInt(no) },
  ...{ belowTxid: 2n ** 60n, at: '2026-01-02T03:04:05.006Z', previous: 'cd'.repeat(32) },
  ...{ keyId: '0123456789abcdef', signature: Buffer.alloc(64).toString('base64') },
})

async function readAll(path: string): Promise<Checkpoint[]> {
  const found: Checkpoint[] = []
  for await (const checkpoint of readWitness(path)) found.push(checkpoint)
  return found
}

async function write(path: string, ...numbers: number[]): Promise<void> {
  const witness = await openWitness(path)
  for (const no of numbers) await witness.append(checkpointOf(no))
  await witness.close()
}

it('holds what was appended, in order, for its owner alone', async () => {
  const path = join(folder, 'order')
  await write(path, 1, 2)
  await write(path, 3)
  expect(await readAll(path)).toEqual([1, 2, 3].map(checkpointOf))
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  const witness = await openWitness(path)
  expect(witness.last()).toEqual(checkpointOf(3))
  await witness.close()
})

it('begins empty, and says so', async () => {
  const path = join(folder, 'empty')
  await write(path)
  expect(await readAll(path)).toEqual([])
})

it('takes a line that was written twice for one', async () => {
  const path = join(folder, 'twice')
  await write(path, 1, 1, 2)
  expect(await readAll(path)).toEqual([1, 2].map(checkpointOf))
})

it.each(['cut', 'nothing but a beginning'])('goes on after a line that a crash left %s', async (what) => {
  const path = join(folder, what)
  if (what === 'cut') {
    await write(path, 1, 2)
    await truncate(path, (await stat(path)).size - 7)
  } else await writeFile(path, formatCheckpoint(checkpointOf(1)).slice(0, 20))
  const whole = what === 'cut' ? [checkpointOf(1)] : []
  expect(await readAll(path)).toEqual(whole)
  await write(path, 2)
  expect(await readAll(path)).toEqual([...whole, checkpointOf(2)])
})

it.each([
  ['is no JSON', 'hello'],
  ['lacks a field', '{"no":1}'],
  ['has one more', formatCheckpoint(checkpointOf(2)).replace('{', '{"extra":1,')],
])('is refused when a line %s', async (_what, line) => {
  const path = join(folder, `bad-${line.length}`)
  await write(path, 1)
  await appendFile(path, `${line}\n${formatCheckpoint(checkpointOf(3))}\n`)
  await expect(readAll(path)).rejects.toThrow(new WitnessError(`line 2 of ${path} is not a checkpoint`))
  await appendFile(path, `${line}\n`)
  await expect(openWitness(path)).rejects.toThrow(new WitnessError(`the last line of ${path} is not a checkpoint`))
})

it('finds the last of many lines without reading them all', async () => {
  const path = join(folder, 'long')
  const lines = Array.from({ length: 400 }, (_, at) => `${formatCheckpoint(checkpointOf(at + 1))}\n`)
  // The first line would stop a reader of all.
  const written = ['no checkpoint\n', ...lines].join('')
  await writeFile(path, written)
  await expect(readAll(path)).rejects.toThrow(WitnessError)
  const witness = await openWitness(path)
  expect(witness.last()).toEqual(checkpointOf(400))
  await witness.close()
  expect(await readFile(path, 'utf8')).toBe(written)
})
