// The payer as a process: what it refuses to start with, and kill -9 at any instant.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import { privateKeyToAccount } from 'viem/accounts'
import { arriveOn, createChainProbe, makeKey, type ChainProbe } from '../../test/support/payout.ts'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { approveRefund, type ApprovedRefund } from '../../test/support/approved_refund.ts'
import { REFUND_PUBLIC_KEY } from '../../test/support/refund_seal.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'

jest.setTimeout(600_000)

const ENTRY = fileURLToPath(new URL('payer.ts', import.meta.url))
const WITHIN_MS = 240_000
const KILLS = 4
const REFUNDS_PER_KILL = 4

const processes: RunningProcess[] = []
let dataDir: string
let shop: TestShop
let anvil: Anvil
let chain: ChainProbe
let keysFile: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-payer-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: { everySeconds: 1 } })
  chain = createChainProbe(anvil.url)
  shop = await createTestShop()
  keysFile = join(dataDir, 'refund-public-keys.pem')
  await writeFile(keysFile, REFUND_PUBLIC_KEY)
})
afterEach(() => killAll(processes))
afterAll(async () => {
  await shop.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

async function startPayer(env: Readonly<Record<string, string>>): Promise<RunningProcess> {
  const [port = 0] = await freePorts(1)
  const started = startProcess(
    [ENTRY],
    {
      HOLDFAST_MODE: 'development',
      DATABASE_URL: shop.test.urlOf('app_worker'),
      HOLDFAST_ETH_RPC_URL: anvil.url,
      HOLDFAST_REFUND_PUBLIC_KEYS_FILE: keysFile,
      HOLDFAST_POLL_MS: '20',
      HOLDFAST_METRICS_PORT: String(port),
      ...env,
    },
    port,
  )
  processes.push(started)
  return started
}
async function makeKeyFile(): Promise<{ file: string; sender: string }> {
  const key = makeKey()
  const file = join(dataDir, `key-${randomBytes(4).toString('hex')}`)
  await writeFile(file, key)
  return { file, sender: privateKeyToAccount(key as `0x${string}`).address.toLowerCase() }
}
const countPaid = async (refunds: readonly ApprovedRefund[]): Promise<number> =>
  (
    await shop.query(`select from refund where status = 'paid' and refund_id = any($1)`, [
      refunds.map(({ refundId }) => refundId),
    ])
  ).length
const countSigned = async (): Promise<number> =>
  (await shop.query('select from payout_attempt where raw is not null')).length

test('a key that is online is refused in production, and so is no signer or two', async () => {
  const { file } = await makeKeyFile()
  const refusals: readonly (readonly [env: Record<string, string>, message: string])[] = [
    [{ HOLDFAST_MODE: 'production', HOLDFAST_PAYOUT_KEY_FILE: file }, 'a key that is online is for development'],
    [{ HOLDFAST_PAYOUT_KEY_FILE: file, HOLDFAST_PAYOUT_DIR: dataDir }, 'excludes HOLDFAST_PAYOUT_DIR'],
    [{ HOLDFAST_PAYOUT_DIR: dataDir }, 'HOLDFAST_PAYOUT_SENDER: is not set'],
    [{}, 'HOLDFAST_PAYOUT_DIR: is not set'],
  ]
  for (const [env, message] of refusals) {
    const ended = await (await startPayer({ HOLDFAST_PRIVATE_HOSTS: '127.0.0.1', ...env })).ended
    expect(ended.code).toBe(1)
    expect(ended.output).toContain(message)
  }
})

test('kill -9 at any instant, with two payers at work: each refund is sent once', async () => {
  const { file, sender } = await makeKeyFile()
  const refunds: ApprovedRefund[] = []
  const start = (): Promise<RunningProcess> => startPayer({ HOLDFAST_PAYOUT_KEY_FILE: file })
  let payers = await Promise.all([start(), start()])
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = await countSigned()
    for (let made = 0; made < REFUNDS_PER_KILL; made += 1)
      refunds.push(await approveRefund(shop, { arrive: arriveOn(anvil), amount: BigInt(10 ** 16 + refunds.length) }))
    // Strikes in the middle of the work on them: some are signed, and few are sent or noted.
    await until(async () => (await countSigned()) > before, { withinMs: WITHIN_MS })
    for (const payer of payers) payer.child.kill('SIGKILL')
    await Promise.all(payers.map(({ ended }) => ended))
    payers = await Promise.all([start(), start()])
  }
  await until(async () => (await countPaid(refunds)) === refunds.length, { withinMs: WITHIN_MS })
  for (const { destination, amount } of refunds) expect(await chain.balanceOf(destination)).toBe(amount)
  expect(await chain.countOf(sender)).toBe(refunds.length)
  for (const payer of payers) expect((await payer.stop()).code).toBe(0)
})
