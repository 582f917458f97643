import { expect, test } from '@jest/globals'
import {
  choosePorts,
  DEFAULT_PORT_BASE,
  MAX_PORT_BASE,
  MIN_PORT_BASE,
  portsInUse,
  specsOf,
  type StackPorts,
} from './wiring.ts'

const portsOf = (ports: StackPorts): number[] => portsInUse(ports).map(({ port }) => port)

test('the documented ports are those of the default base', async () => {
  const ports = await choosePorts({ portBase: DEFAULT_PORT_BASE, apis: 1, workers: 1 })
  expect(ports.apis).toEqual([{ grpc: 7070, admin: 7071, pay: 7072, metrics: 9464 }])
  expect(ports.workers).toEqual([{ metrics: 9466, sdk: 9467 }])
  expect([ports.keys, ports.watcher, ports.sealer, ports.payer, ports.temporal[0]]).toEqual([
    9468, 9470, 9472, 9474, 7233,
  ])
})

test('another base shifts every port by the same distance, and no two collide', async () => {
  const first = portsOf(await choosePorts({ portBase: DEFAULT_PORT_BASE, apis: 1, workers: 1 }))
  const second = portsOf(await choosePorts({ portBase: DEFAULT_PORT_BASE + 1_000, apis: 1, workers: 1 }))
  expect(second).toEqual(first.map((port) => port + 1_000))
  expect(new Set(first).size).toBe(first.length)
})

test('each base that is named as possible is: all ports are valid and different', async () => {
  for (const portBase of [MIN_PORT_BASE, MAX_PORT_BASE]) {
    const ports = portsOf(await choosePorts({ portBase, apis: 1, workers: 1 }))
    expect(ports.filter((port) => port < MIN_PORT_BASE || port > 65_535)).toEqual([])
    expect(new Set(ports).size).toBe(ports.length)
  }
})

test.each([80, MIN_PORT_BASE - 1, MAX_PORT_BASE + 1, 65_000])(
  'a base of %i leaves no room for all ports',
  async (portBase) => {
    await expect(choosePorts({ portBase, apis: 1, workers: 1 })).rejects.toThrow(/--port-base must be from 1024 to \d+/)
  },
)

test('every process runs in development mode, whatever the settings say, and is reached where the stack says', async () => {
  const ports = await choosePorts({ portBase: DEFAULT_PORT_BASE, apis: 1, workers: 1 })
  const file = 'secret-file'
  const specs = specsOf({
    ports,
    secrets: {
      ...{ jwt: file, keyRing: file, piiRing: file, orderId: file, payLinks: file, payoutKey: file },
      ...{ sources: file, sourceSecret: file, watcherToken: file, sealKey: 'seal-key', sealPublicKeys: file },
      ...{ quoteKey: 'quote-key', quotePublicKeys: file, refundKey: 'refund-key', refundPublicKeys: file },
    },
    auditFile: file,
    databaseUrlOf: (role) => `postgres://${role}@127.0.0.1/holdfast`,
    temporalAddress: '127.0.0.1:7233',
    chainUrl: 'http://127.0.0.1:8545',
    settings: { HOLDFAST_MODE: 'production', HOLDFAST_GRPC_PORT: '1', HOLDFAST_LOG_LEVEL: 'debug' },
  })
  expect(specs.map(({ name }) => name)).toEqual(['keys', 'sealer', 'api', 'worker', 'watcher', 'payer'])
  for (const { env } of specs) expect(env).toMatchObject({ HOLDFAST_MODE: 'development', HOLDFAST_LOG_LEVEL: 'debug' })
  expect(specs[2]?.env['HOLDFAST_GRPC_PORT']).toBe('7070')
  // A process that parses strangers' input, or reports from a chain, must not hold the ring of payment keys.
  const holders = specs.filter(({ env }) => 'HOLDFAST_KEY_KEYRING_FILE' in env).map(({ name }) => name)
  expect(holders).toEqual(['keys'])
  // It makes any address look like the shop's.
  expect(specs.filter(({ env }) => Object.values(env).includes('quote-key')).map(({ name }) => name)).toEqual(['api'])
  // It makes approvals: what pays by them must not have it.
  expect(specs.filter(({ env }) => Object.values(env).includes('refund-key')).map(({ name }) => name)).toEqual(['api'])
  // Whoever holds the sealing key can make a rewritten history look right.
  expect(specs.filter(({ env }) => Object.values(env).includes('seal-key')).map(({ name }) => name)).toEqual(['sealer'])
})
