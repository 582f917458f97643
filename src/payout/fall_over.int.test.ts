import { afterAll, beforeAll, beforeEach, expect, jest, test } from '@jest/globals'
import { startNodePair, type TestNode } from '../../test/support/node_pair.ts'
import { createNodeMetrics } from '../chain/node_metrics.ts'
import { ANVIL_CHAIN_ID } from '../servers/anvil.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { createPayoutNodes } from './fall_over.ts'
import { createPayoutNode, type PayoutNode } from './node.ts'

jest.setTimeout(180_000)

const ACCOUNT = `0x${'1'.repeat(40)}`

let pair: Awaited<ReturnType<typeof startNodePair>>
beforeAll(async () => {
  pair = await startNodePair()
  await pair.first.mine(20)
})
afterAll(() => pair.stop())
beforeEach(async () => {
  for (const { proxy } of [pair.first, pair.second]) proxy.restore()
  await pair.first.mine(1)
  await pair.copy(pair.first, pair.second)
})

const openNode = ({ url }: TestNode): PayoutNode => createPayoutNode({ url, chainId: ANVIL_CHAIN_ID })
const open = (): PayoutNode =>
  createPayoutNodes({
    nodes: [openNode(pair.first), openNode(pair.second)],
    network: 'ethereum',
    metrics: createNodeMetrics(createRegistry('test'), 'ethereum', 2),
    logger: createLogger({ process: 'test', level: 'silent' }),
  })

test('a turn of the payer stays with its node, and the next one goes to another where that failed', async () => {
  const node = open()
  const { height } = await node.getHead()
  await pair.second.pay(ACCOUNT, 7n)
  await pair.second.mine(1)
  expect(await node.getBalance(ACCOUNT)).toBe(0n)
  pair.first.proxy.cut()
  await expect(node.getBalance(ACCOUNT)).rejects.toThrow('did not answer')
  expect((await node.getHead()).height).toBe(height + 1)
  expect(await node.getBalance(ACCOUNT)).toBe(7n)
})

test('a node far behind the last head is passed over, unless none has reached that head', async () => {
  const node = open()
  await pair.first.mine(6)
  const { height } = await node.getHead()
  pair.first.proxy.cut()
  await expect(node.getHead()).rejects.toThrow()
  expect((await node.getHead()).height).toBe(height - 6)
})
