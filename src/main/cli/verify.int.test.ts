import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { testServers } from '../../../test/support/servers.ts'
import { until } from '../../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../../test/support/worker.ts'
import type { AcceptedOrder } from '../../db/accept/accept.ts'
import { loadConfig } from '../../config.ts'
import { endingOf, EXIT } from './exit.ts'
import { createProgram } from './program.ts'

let shop: TestShop
let worker: TestWorker

beforeEach(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test, { relays: ['start'] })
  await worker.run()
})
afterEach(async () => {
  await worker.stop()
  await shop.close()
})

/** As the shell runs it: what is printed, and the exit code. */
async function verify(env: Record<string, string> = {}, ...args: string[]): Promise<{ code: number; said: string }> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const config = loadConfig('cli', {
    DATABASE_URL: shop.test.urlOf('auditor'),
    TEMPORAL_ADDRESS: testServers().temporalAddress,
    TEMPORAL_NAMESPACE: worker.namespace,
    ...env,
  })
  const program = createProgram({ config, write: say, complain: say, untilInterrupted: () => AbortSignal.timeout(1) })
  try {
    await program.parseAsync(['verify', '--ready-file', '/nowhere/ready.json', ...args], { from: 'user' })
    return { code: EXIT.ok, said: said.join('') }
  } catch (error) {
    const { code, message } = endingOf(error)
    return { code, said: [...said, message].join('') }
  }
}

/** Its workflow runs, and has confirmed its hold. */
const begun = ({ orderId }: AcceptedOrder) =>
  until(async () => {
    const [row] = await shop.query<{ step: number; starts: bigint }>(
      'select step, (select count(*) from workflow_start) as starts from orders where order_id = $1',
      [orderId],
    )
    return row !== undefined && row.step > 0 && row.starts === 0n
  })

test('a shop at one with itself ends with 0, and says how much was looked at', async () => {
  await begun(await shop.order())
  // Lists of workflows lag behind.
  await until(async () => (await worker.client.workflow.count(`ExecutionStatus = 'Running'`)).count === 1)
  const { code, said } = await verify()
  expect(said).toMatch(/^orders +1\nproducts +1\nanswers +1\nworkflows +1\nchecks +\d+\nverdict +all checks passed\n$/)
  expect(code).toBe(0)
})

test('a difference ends with 1, and names the check, the order and what is wrong', async () => {
  const order = await shop.order()
  const { orderId } = order
  // A workflow that began after it would take a hold anew.
  await begun(order)
  await shop.query(`begin; set local session_replication_role = replica;
    delete from reservation where order_id = '${orderId}'; commit`)
  const human = await verify()
  expect(human.said).toMatch(new RegExp(`holds_equal_ledger +${orderId} +sku-\\w+: no hold, ledger: reserve 0 2`))
  expect(human.said).toContain('holds_equal_ledger: the stock ledger records each reservation once and its end once')
  expect(human.said).toMatch(/2 differences$/)
  const { code, said } = await verify({}, '--json')
  expect(code).toBe(1)
  const answer = JSON.parse(said.slice(0, said.lastIndexOf('}') + 1)) as object
  expect(answer).toMatchObject({
    isConsistent: false,
    differences: [{ check: 'holds_equal_ledger', subject: orderId }, { check: 'reserved_equals_holds' }],
  })
})

test.each([
  ['no database', { DATABASE_URL: 'postgresql://auditor:x@127.0.0.1:9/holdfast' }],
  ['no Temporal', { TEMPORAL_ADDRESS: '127.0.0.1:9' }],
  ['no such namespace', { TEMPORAL_NAMESPACE: 'nowhere' }],
])(
  'with %s there is no verdict: it ends with 2',
  async (_what, env) => {
    const { code, said } = await verify(env)
    expect(code).toBe(2)
    expect(said).toMatch(/^verification failed: ./)
  },
  30_000,
)
