// What operators do to a chain, while its watcher goes on.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  CONFIRMATIONS,
  minePayment,
  openStage,
  statesOf,
  type Scene,
  type Stage,
} from '../../../test/support/chain_scene.ts'
import { until } from '../../../test/support/until.ts'
import { DeepReorgError } from '../../chain/follow.ts'
import { allowRewind, attributeBalance, setAside, setStart } from './operation.ts'

const BY = { operator: 'ann', reason: 'as the book says' }

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(async () => {
  await stage.close()
})

const mine = (scene: Scene, blocks: number): void => {
  for (let block = 0; block < blocks; block += 1) scene.chain.mine()
}
const balanceOf = async (scene: Scene) =>
  (
    await stage.query<{ balance: string; told: string; aside: string; unexplained: string }>(
      `select balance::text, told::text, set_aside::text as aside, unexplained::text
       from chain_balance where network = $1 and address = $2`,
      [scene.network, scene.addresses[0]],
    )
  )[0]

const endOrders = (scene: Scene) =>
  stage.query(
    `set role app_worker;
     select end_orders(array(select order_id from invoice where network = '${scene.network}'), 'expired', 'expired', 'system');
     reset role`,
  )

test('after a start from below, what its block was lost with is told as lost and not as final', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  minePayment(scene)
  await scene.step()
  scene.chain.drop(1)
  scene.chain.mine()
  expect(await setStart(stage.database, scene.network, 0, BY)).toBe('done')
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 reorged', '3 dropped'])
})

test('a start as the answer to a deep reorganisation tells that what was final is lost', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  scene.chain.mine()
  minePayment(scene)
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  scene.chain.drop(CONFIRMATIONS + 3)
  mine(scene, CONFIRMATIONS + 5)
  expect(await scene.step()).toBeInstanceOf(DeepReorgError)
  await setStart(stage.database, scene.network, 0, BY)
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 final', '3 reorged', '4 dropped'])
})

test('attributed money that is found as a transfer later counts once', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  scene.chain.sendInside(address, 7n)
  const height = scene.chain.blocks().length - 1
  await scene.step()
  await attributeBalance(stage.database, scene.network, address, BY)
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  const { findBlock } = scene.client
  const inner = { ...scene.chain.transferTo(address, 7n), outputIndex: 5 }
  scene.client.findBlock = async (at) => {
    const block = await findBlock(at)
    return block !== undefined && at === height ? { ...block, outputs: [inner] } : block
  }
  await setStart(stage.database, scene.network, 0, BY)
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 final', '3 reorged', '4 dropped', '1 seen', '2 final'])
  expect(scene.delivered.filter(({ txId }) => txId === inner.txId).map(({ state }) => state)).toEqual(['seen', 'final'])
  expect(await balanceOf(scene)).toMatchObject({ balance: '7', told: '7', unexplained: '0' })
})

test('money attributed to a block is counted once when it is found as a transfer of a later one', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  mine(scene, 2)
  const named = scene.chain.blocks().length - 2
  scene.chain.sendInside(address, 7n)
  const height = scene.chain.blocks().length - 1
  await scene.step()
  expect(await attributeBalance(stage.database, scene.network, address, { ...BY, height: named })).toBe('done')
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  const { findBlock } = scene.client
  const inner = { ...scene.chain.transferTo(address, 7n), outputIndex: 5 }
  scene.client.findBlock = async (at) => {
    const block = await findBlock(at)
    return block !== undefined && at === height ? { ...block, outputs: [inner] } : block
  }
  expect(await setStart(stage.database, scene.network, height, BY)).toBe('done')
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 final', '3 dropped', '1 seen', '2 final'])
  expect(await balanceOf(scene)).toMatchObject({ balance: '7', told: '7', unexplained: '0' })
})

test('what a contract sends is told with the amount it has in the block it is in now', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  const inner = { ...scene.chain.transferTo(address, 1_000n), outputIndex: 77 }
  scene.chain.mine([inner])
  await scene.step()
  scene.chain.drop(1)
  scene.chain.mine([{ ...inner, amount: 10n }])
  mine(scene, CONFIRMATIONS)
  await scene.step()
  expect(scene.delivered.at(-1)).toMatchObject({ state: 'final', amount: 10n })
  expect(await balanceOf(scene)).toMatchObject({ balance: '10', told: '10', unexplained: '0' })
})

describe('what a contract sent, whose block is read again without traces,', () => {
  const openRead = async () => {
    const scene = await stage.openScene({ startHeight: 0 })
    scene.chain.mine()
    const inner = { ...scene.chain.transferTo(scene.addresses[0] ?? '', 1_000n), outputIndex: 77 }
    scene.chain.mine([inner])
    mine(scene, CONFIRMATIONS + 2)
    await scene.step()
    const { findBlock } = scene.client
    scene.client.findBlock = async (at) => {
      const block = await findBlock(at)
      return block && { ...block, outputs: [], untracedTxIds: block.outputs.map(({ txId }) => txId) }
    }
    return { scene, inner }
  }

  test('is met again where the block is the same', async () => {
    const { scene } = await openRead()
    await setStart(stage.database, scene.network, 0, BY)
    await scene.step()
    expect(statesOf(scene)).toEqual(['1 seen', '2 final', '3 reorged', '4 seen', '5 final'])
    expect(await balanceOf(scene)).toMatchObject({ balance: '1000', told: '1000', unexplained: '0' })
  })

  test('is unexplained money where the block is another one, also of an order that ended and was never compared', async () => {
    const { scene, inner } = await openRead()
    await endOrders(scene)
    await stage.query('delete from chain_balance where network = $1', [scene.network])
    scene.chain.drop(CONFIRMATIONS + 3)
    scene.chain.mine([inner])
    mine(scene, CONFIRMATIONS + 4)
    await setStart(stage.database, scene.network, 0, BY)
    await scene.step()
    expect(statesOf(scene)).toEqual(['1 seen', '2 final', '3 reorged', '4 dropped'])
    scene.chain.mine()
    await scene.step()
    expect(await balanceOf(scene)).toMatchObject({ balance: '1000', told: '0', unexplained: '1000' })
  })
})

test('a transfer that was told before, and is met again, drops no attribution beside it', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  scene.chain.mine([scene.chain.transferTo(address, 3n)])
  scene.chain.mine()
  scene.chain.sendInside(address, 4n)
  await scene.step()
  expect(await attributeBalance(stage.database, scene.network, address, BY)).toBe('done')
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  await setStart(stage.database, scene.network, 0, BY)
  await scene.step()
  expect(statesOf(scene)).not.toContain('4 dropped')
  expect(await balanceOf(scene)).toMatchObject({ balance: '7', told: '7', unexplained: '0' })
})

test('what was dropped and is attributed by its balance is not met again beside it', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  scene.chain.mine([{ ...scene.chain.transferTo(address, 5n), outputIndex: 77 }])
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  const { findBlock } = scene.client
  // As a version before told it: not traced, and not said.
  scene.client.findBlock = async (at) => {
    const block = await findBlock(at)
    return block && { ...block, outputs: [] }
  }
  await setStart(stage.database, scene.network, 0, BY)
  await scene.step()
  scene.chain.mine()
  await scene.step()
  expect(await balanceOf(scene)).toMatchObject({ balance: '5', told: '0', unexplained: '5' })
  expect(await attributeBalance(stage.database, scene.network, address, BY)).toBe('done')
  scene.client.findBlock = async (at) => {
    const block = await findBlock(at)
    return block && { ...block, outputs: [], untracedTxIds: block.outputs.map(({ txId }) => txId) }
  }
  await setStart(stage.database, scene.network, 0, BY)
  mine(scene, CONFIRMATIONS)
  await scene.step()
  expect(await balanceOf(scene)).toMatchObject({ balance: '5', told: '5', unexplained: '0' })
})

test('what waits to be met again is told as dropped when its money is attributed', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  const inner = { ...scene.chain.transferTo(address, 5n), outputIndex: 77 }
  scene.chain.mine([inner])
  await scene.step()
  scene.chain.drop(1)
  scene.chain.mine([inner])
  scene.chain.mine()
  const { findBlock } = scene.client
  scene.client.findBlock = async (at) => {
    const block = await findBlock(at)
    return block && { ...block, outputs: [], untracedTxIds: block.outputs.map(({ txId }) => txId) }
  }
  await scene.step()
  expect(await attributeBalance(stage.database, scene.network, address, BY)).toBe('done')
  await scene.step()
  expect(statesOf(scene)).toEqual(['1 seen', '2 reorged', '1 seen', '3 dropped'])
})

describe('attributed money of an order that ended', () => {
  const openAttributed = async () => {
    const scene = await stage.openScene({ startHeight: 0 })
    const [address = ''] = scene.addresses
    mine(scene, 2)
    scene.chain.sendInside(address, 7n)
    await scene.step()
    await attributeBalance(stage.database, scene.network, address, BY)
    mine(scene, CONFIRMATIONS + 2)
    await scene.step()
    expect(await balanceOf(scene)).toMatchObject({ told: '7', unexplained: '0' })
    await endOrders(scene)
    return { scene, address }
  }

  test('is met again where a start reads the same block once more', async () => {
    const { scene } = await openAttributed()
    await setStart(stage.database, scene.network, 0, BY)
    await scene.step()
    expect(statesOf(scene)).toEqual(['1 seen', '2 final', '3 reorged', '4 seen', '5 final'])
    expect(await balanceOf(scene)).toMatchObject({ balance: '7', told: '7', unexplained: '0' })
  })

  test.each(['a leave to rewind', 'a start'] as const)(
    'is unexplained again where its block is lost, by %s',
    async (how) => {
      const { scene, address } = await openAttributed()
      scene.chain.drop(CONFIRMATIONS + 3)
      scene.chain.sendInside(address, 7n)
      mine(scene, CONFIRMATIONS + 5)
      expect(await scene.step()).toBeInstanceOf(DeepReorgError)
      if (how === 'a start') await setStart(stage.database, scene.network, 0, BY)
      else await allowRewind(stage.database, scene.network, 1, BY)
      mine(scene, 1)
      await scene.step()
      expect(await balanceOf(scene)).toMatchObject({ balance: '7', told: '0', unexplained: '7' })
    },
  )
})

test('money that was set aside and is lost with its block excuses no later money', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  mine(scene, 2)
  scene.chain.sendInside(address, 7n)
  await scene.step()
  await setAside(stage.database, scene.network, address, BY)
  scene.chain.drop(1)
  mine(scene, 2)
  await scene.step()
  expect(await balanceOf(scene)).toMatchObject({ balance: '0', aside: '0' })
  scene.chain.sendInside(address, 7n)
  scene.chain.mine()
  await scene.step()
  expect(await balanceOf(scene)).toMatchObject({ balance: '7', aside: '0', unexplained: '7' })
})

test('a balance that is stored while an operator attributes it does not count what was not told yet', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  const [address = ''] = scene.addresses
  scene.chain.mine()
  scene.chain.sendInside(address, 7n)
  await scene.step()
  scene.chain.mine()
  const { findBalances } = scene.client
  const { promise: isWaitedFor, resolve: goOn } = Promise.withResolvers<void>()
  const slow = {
    ...stage.database,
    sql: {
      ...stage.database.sql,
      transaction: async (work: Parameters<typeof stage.database.sql.transaction>[0]) =>
        stage.database.sql.transaction(async (tx) => {
          const result = await work(tx)
          await isWaitedFor
          return result
        }),
    },
  } as typeof stage.database
  const waiters = async () =>
    stage.query(`select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`)
  const isWritten = async () =>
    (await stage.query(`select from pg_locks where relation = 'holdfast.chain_report'::regclass and granted`)).length >
    0
  let attributed: Promise<string> | undefined
  scene.client.findBalances = async (of, hash) => {
    attributed = attributeBalance(slow, scene.network, address, BY)
    await until(isWritten)
    return findBalances(of, hash)
  }
  const look = scene.step()
  await until(async () => (await waiters()).length > 0)
  goOn()
  await look
  expect(await attributed).toBe('done')
  expect(statesOf(scene)).toEqual([])
  expect(await balanceOf(scene)).toMatchObject({ told: '0', unexplained: '7' })
})

test('a leave to rewind ends once the chain has gone on as it was', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  minePayment(scene)
  mine(scene, CONFIRMATIONS + 2)
  await scene.step()
  await allowRewind(stage.database, scene.network, 0, BY)
  mine(scene, CONFIRMATIONS)
  await scene.step()
  const leave = async () => stage.query('select rewind_to::int from chain_status where network = $1', [scene.network])
  expect(await leave()).toEqual([{ rewind_to: 0 }])
  scene.chain.mine()
  await scene.step()
  expect(await leave()).toEqual([{ rewind_to: null }])
  const lost = scene.chain.blocks().length - 1
  scene.chain.drop(lost)
  mine(scene, lost + 1)
  expect(await scene.step()).toBeInstanceOf(DeepReorgError)
})

test('a start above the next block of the node is refused, once a watcher knows its tip', async () => {
  const scene = await stage.openScene({ startHeight: 0 })
  mine(scene, 2)
  await scene.step()
  expect(await setStart(stage.database, scene.network, 4, BY)).toBe('above_tip')
  expect(await scene.status()).toMatchObject({ start: 0n })
  expect(await setStart(stage.database, scene.network, 3, BY)).toBe('done')
})
