import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { openDevelopmentChain } from '../chain/development.ts'
import { startAnvil, type Anvil } from './anvil.ts'
import { freePorts } from './port.ts'

/** Long enough that its state is not written in one go. */
const BLOCKS = 200
const KILLS = 4

let dataDir: string
let port: number
let anvil: Anvil | undefined
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  port = (await freePorts(1))[0] ?? 0
})
afterEach(async () => {
  await anvil?.stop()
  anvil = undefined
  await rm(dataDir, { recursive: true })
})

const start = async (): Promise<Anvil> => (anvil = await startAnvil({ port, dataDir, mining: 'manual' }))
async function heightOf({ url }: Anvil): Promise<number> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_blockNumber', params: [] })
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  return Number(((await answer.json()) as { result: string }).result)
}

test('a chain that was stopped in order goes on where it was', async () => {
  await (await openDevelopmentChain((await start()).url)).mine(7)
  await anvil?.stop()
  expect(await heightOf(await start())).toBe(7)
})

test('a kill -9 while the state is written leaves the state before it or after it, never half of it', async () => {
  let height = 0
  for (let kill = 0; kill < KILLS; kill += 1) {
    const node = await start()
    expect(await heightOf(node)).toBeGreaterThanOrEqual(height)
    const chain = await openDevelopmentChain(node.url)
    await chain.mine(BLOCKS)
    await node.save()
    height = await heightOf(node)
    await chain.mine(1)
    const saving = node.save().catch(() => undefined)
    // Between no time and about as long as a save takes.
    for (let turn = 0; turn < kill; turn += 1) await heightOf(node).catch(() => 0)
    await node.kill9()
    await saving
    expect(JSON.parse(await readFile(join(dataDir, 'anvil', 'state.json'), 'utf8'))).toHaveProperty('blocks')
  }
})
