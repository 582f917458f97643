// `npm start` and the command line, as a newcomer uses them: everything starts, serves, stops without leaving anything
// behind, and starts again with its data.

import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freePorts, isPortFree } from '../../src/servers/port.ts'
import { removePostgres } from '../../src/servers/postgres.ts'
import { choosePorts, DEFAULT_PORT_BASE, portsInUse } from '../../src/servers/wiring.ts'
import { findReady, type Ready } from '../../src/main/ready_file.ts'
import { runMain, serverVariables, type Command, type Ended } from '../support/command.ts'
import { until } from '../support/until.ts'

const STACK_START_WITHIN_MS = 180_000
const STACK_STOP_WITHIN_MS = 180_000
const STEP_WITHIN_MS = 180_000

let dataDir: string
let readyFile: string
let portBase: number
let running: Command | undefined

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-start-'))
  readyFile = join(dataDir, 'elsewhere', 'ready.json')
  portBase = await until(findPortBase)
})
afterAll(async () => {
  running?.child.kill('SIGTERM')
  await running?.ended
  await removePostgres(dataDir)
  await rm(dataDir, { recursive: true })
}, STACK_STOP_WITHIN_MS)

/** A random base port with every port above it free. */
async function findPortBase(): Promise<number | undefined> {
  const [base = DEFAULT_PORT_BASE] = await freePorts(1)
  const ports = portsInUse(await choosePorts({ portBase: base, apis: 1, workers: 1 }))
  const areFree = await Promise.all(ports.map(({ port }) => isPortFree(port)))
  return areFree.every(Boolean) ? base : undefined
}

/** Runs `npm start` until its ready file exists. */
async function start(): Promise<Ready> {
  const args = ['--data-dir', dataDir, '--port-base', String(portBase), '--ready-file', readyFile]
  const command = runMain(['dev.ts', 'start', ...args], await serverVariables())
  running = command
  const failed = command.ended.then(({ stderr }) => {
    throw new Error(`it ended: ${stderr}`)
  })
  return Promise.race([failed, until(() => findReady(readyFile), { withinMs: STACK_START_WITHIN_MS })])
}

async function stop(): Promise<Ended | undefined> {
  running?.child.kill('SIGTERM')
  const ended = await running?.ended
  running = undefined
  return ended
}

const holdfast = (...args: string[]): Promise<Ended> => runMain(['cli.ts', ...args, '--ready-file', readyFile]).ended

/** Runs a command that must succeed, and parses its JSON. */
async function ask(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await holdfast(...args, '--json')
  if (code !== 0) throw new Error(`holdfast ${args.join(' ')} ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as Record<string, unknown>
}

/** Every port that the ready file names. */
const portsOf = ({ api, admin, temporal, database, chains, metrics }: Ready): number[] =>
  [
    `tcp://${api}`,
    `tcp://${admin}`,
    `tcp://${temporal.address}`,
    database,
    chains.ethereum ?? '',
    ...Object.values(metrics),
  ]
    .filter((url) => url !== '')
    .map((url) => Number(new URL(url).port))

test(
  'the stack serves a newcomer at the command line, leaves no process behind, and finds its data again',
  async () => {
    const ready = await start()
    expect(Object.keys(ready.tokens)).toEqual([
      ...['customer1', 'customer2', 'admin', 'admin2', 'fulfilment', 'auditor', 'watcher', 'service'],
    ])
    expect((await stat(readyFile)).mode & 0o777).toBe(0o600)
    expect(await readFile(join(dataDir, 'ready.json'), 'utf8')).toBe(await readFile(readyFile, 'utf8'))

    const second = await runMain(['dev.ts', 'start', '--data-dir', dataDir], await serverVariables()).ended
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/in use by process \d+: .*--data-dir/) })

    const created = await ask('order', 'create', 'lamp:2', 'mug')
    const orderId = String(created['orderId'])
    expect(created).toMatchObject({ total: '102.50', currency: 'EUR', payment: { asset: 'ETH' } })
    await ask('pay', orderId)
    await until(async () => (await ask('order', 'get', orderId))['status'] === 'processing', {
      withinMs: STEP_WITHIN_MS,
    })
    expect(await ask('order', 'ship', orderId)).toMatchObject({ status: 'shipped' })
    expect(await ask('order', 'deliver', orderId)).toMatchObject({ status: 'delivered' })

    const refused = await holdfast('order', 'cancel', orderId)
    expect(refused).toMatchObject({ code: 3, stdout: '', stderr: expect.stringMatching(/^ORDER_STATUS: /) })
    expect(await holdfast('order', 'create', 'vase:2')).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^OUT_OF_STOCK: [\s\S]*vase: wanted 2, available 1/),
    })
    expect(await holdfast('order', 'get', orderId, '--user', '2')).toMatchObject({ code: 4 })
    expect(await holdfast('order', 'list', '--token', 'forged')).toMatchObject({ code: 2 })
    expect(await holdfast('product', 'put', 'cap', '--name', 'Cap', '--price', '9.999')).toMatchObject({ code: 2 })

    expect(await stop()).toMatchObject({
      code: 0,
      // Elsewhere than the default, the commands that it prints need the ready file.
      stdout: expect.stringContaining(`export HOLDFAST_READY_FILE=${dataDir}`),
      stderr: expect.stringMatching(/everything has stopped\n$/),
    })
    expect(await findReady(readyFile)).toBeUndefined()
    for (const port of portsOf(ready)) expect({ port, isFree: await isPortFree(port) }).toEqual({ port, isFree: true })
    expect(await holdfast('order', 'list')).toMatchObject({ code: 5, stderr: expect.stringContaining('npm start') })

    await start()
    expect(await ask('order', 'list')).toMatchObject({ orders: [{ orderId, status: 'delivered' }] })
    const open = await ask('order', 'create', 'chair')
    await ask('pay', String(open['orderId']))
    await until(async () => (await ask('order', 'get', String(open['orderId'])))['status'] === 'processing', {
      withinMs: STEP_WITHIN_MS,
    })
    // Workflow lists are eventually consistent.
    const verdict = await until(
      async () => {
        const found = await ask('verify')
        return (found['looked'] as { workflows: number }).workflows === 1 ? found : undefined
      },
      { withinMs: STEP_WITHIN_MS },
    )
    expect(verdict).toMatchObject({ isConsistent: true, looked: { orders: 2, workflows: 1 }, differences: [] })
    expect(await stop()).toMatchObject({ code: 0 })
  },
  2 * (STACK_START_WITHIN_MS + STACK_STOP_WITHIN_MS),
)
