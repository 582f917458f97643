import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { ROOT } from '../../test/support/source.ts'
import { ADMIN_SERVICES, METHODS, PUBLIC_SERVICES } from './method.ts'
import { createReflectionHandlers, indexDescriptors } from './reflection.ts'

const set = readFileSync(join(ROOT, 'proto/holdfast.binpb'))
const index = indexDescriptors(set)

test('every method that is served has its file', () => {
  expect(Object.keys({ ...PUBLIC_SERVICES, ...ADMIN_SERVICES }).length).toBeGreaterThan(8)
  for (const { path } of METHODS) {
    const [, service = '', method = ''] = path.split('/')
    expect([path, index.findSymbol(service)?.length ?? 0]).not.toEqual([path, 0])
    expect(index.findSymbol(`${service}.${method}`)).toEqual(index.findSymbol(service))
  }
})

test.each([
  ['a message', 'holdfast.v1.Order'],
  ['a field', 'holdfast.v1.Order.total'],
  ['an enum', 'holdfast.v1.OrderStatus'],
  ['a value of an enum, a sibling of its enum', 'holdfast.v1.ORDER_STATUS_PENDING'],
  ['a nested enum', 'grpc.health.v1.HealthCheckResponse.ServingStatus'],
  ['an imported type', 'google.protobuf.Timestamp'],
])('the file of %s is found by its full name', (_what, name) => {
  expect(index.findSymbol(name)).toBeDefined()
})

test.each(['', 'holdfast', 'holdfast.v1', 'holdfast.v1.Nothing', '.holdfast.v1.Order', '__proto__', 'constructor'])(
  'there is no symbol «%s»',
  (name) => {
    expect(index.findSymbol(name)).toBeUndefined()
    expect(index.findFile(name)).toBeUndefined()
  },
)

test('a file comes first, as it is in the set, and with all that it imports', () => {
  const [first, ...imports] = index.findFile('holdfast/v1/order.proto') ?? []
  expect(set.includes(Buffer.from(first ?? []))).toBe(true)
  expect(first).toEqual(index.findSymbol('holdfast.v1.OrderService')?.[0])
  const timestamp = index.findFile('google/protobuf/timestamp.proto')?.[0]
  expect(imports).toContainEqual(timestamp)
})

test('a set that is cut off is refused, not half indexed', () => {
  expect(() => indexDescriptors(set.subarray(0, set.length - 10))).toThrow()
})

test('a stream with too many questions is ended', async () => {
  const { serverReflectionInfo } = createReflectionHandlers(ADMIN_SERVICES)
  const ask = async function* () {
    for (;;) yield { host: '', messageRequest: { $case: 'listServices', value: '' } as const }
  }
  let answered = 0
  const readAll = async (): Promise<void> => {
    for await (const { validHost } of serverReflectionInfo(ask(), undefined as never)) answered += 1 + validHost.length
  }
  await expect(readAll()).rejects.toMatchObject({ reason: 'MESSAGE_TOO_LARGE' })
  expect(answered).toBe(1_000)
})
