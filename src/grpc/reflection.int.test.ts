// Reflection as its users have it: `buf curl`, a Go client like grpcurl, and a raw stream of questions.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { credentials, Metadata } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type Caller, type TestFront } from '../../test/support/front.ts'
import { ROOT } from '../../test/support/source.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import {
  ServerReflectionClient,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from './gen/grpc/reflection/v1/reflection.ts'
import { ServerReflectionClient as AlphaClient } from './gen/grpc/reflection/v1alpha/reflection.ts'

const run = promisify(execFile)
const BUF = join(ROOT, 'node_modules/.bin/buf')
const GRPCURL = process.env['HOLDFAST_GRPCURL']
const INFO = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'

let database: TestDatabase
let front: TestFront
beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

async function curl(caller: Caller, ...args: string[]): Promise<string> {
  const header = `authorization: Bearer ${await front.tokenOf(caller)}`
  const flags = ['--protocol', 'grpc', '--http2-prior-knowledge', '-H', header, '--reflect-header', header]
  const { stdout } = await run(BUF, ['curl', ...flags, ...args], { cwd: '/' })
  return stdout
}

test.each(['grpc-v1', 'grpc-v1alpha'])('buf curl lists the services and calls one, by %s alone', async (protocol) => {
  const url = `http://${front.adminAddress}`
  const services = await curl(admin, '--reflect-protocol', protocol, '--list-services', url)
  expect(services.split('\n')).toEqual(
    expect.arrayContaining(['holdfast.v1.AuditService', 'holdfast.v1.OrderAdminService', 'grpc.health.v1.Health']),
  )
  const method = `${url}/holdfast.v1.NotificationAdminService/ListDeadNotifications`
  expect(JSON.parse(await curl(admin, '--reflect-protocol', protocol, '-d', '{"limit": 5}', method))).toEqual({})
})

// Only where it could be built: see tools/setup/main.mjs.
const withGrpcurl = GRPCURL === undefined ? test.skip : test
withGrpcurl('grpcurl lists the services, describes a message, and calls a method', async () => {
  const header = `authorization: Bearer ${await front.tokenOf(admin)}`
  const grpcurl = async (args: readonly string[], what: readonly string[]): Promise<string> =>
    (await run(GRPCURL ?? '', ['-plaintext', '-H', header, ...args, front.adminAddress, ...what])).stdout
  expect(await grpcurl([], ['list'])).toMatch(/^holdfast\.v1\.AuditService$/m)
  expect(await grpcurl([], ['describe', 'holdfast.v1.RestartOrderRequest'])).toContain('string idempotency_key')
  const method = 'holdfast.v1.NotificationAdminService/ListDeadNotifications'
  expect(JSON.parse(await grpcurl(['-d', '{"limit": 5}'], [method]))).toEqual({})
})

test('a caller who is no admin learns nothing', async () => {
  const url = `http://${front.adminAddress}`
  await expect(curl(customer(7), '--list-services', url)).rejects.toThrow(/permission_denied|This is not allowed/i)
  expect(await callRaw(front.adminAddress, INFO, Buffer.alloc(0))).toMatchObject({ code: 'UNAUTHENTICATED' })
})

test('the public port has no reflection', async () => {
  const answer = await callRaw(front.address, INFO, Buffer.alloc(0), [
    ['authorization', `Bearer ${await front.tokenOf(admin)}`],
  ])
  expect(answer.code).toBe('UNIMPLEMENTED')
})

/** Sends the questions on one stream; the answers, and the code that it ended with. */
async function ask(
  questions: readonly ServerReflectionRequest['messageRequest'][],
  Client: typeof ServerReflectionClient | typeof AlphaClient = ServerReflectionClient,
): Promise<{ answers: ServerReflectionResponse[]; code: number }> {
  const client = new Client(front.adminAddress, credentials.createInsecure())
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${await front.tokenOf(admin)}`)
  const stream = client.serverReflectionInfo(metadata)
  const answers: ServerReflectionResponse[] = []
  stream.on('data', (answer: ServerReflectionResponse) => answers.push(answer))
  stream.on('error', () => undefined)
  for (const messageRequest of questions) stream.write({ host: 'here', messageRequest })
  stream.end()
  const code = await new Promise<number>((resolve) => stream.on('status', (ended) => resolve(ended.code)))
  client.close()
  return { answers, code }
}

test.each([
  ['v1', ServerReflectionClient],
  ['v1alpha', AlphaClient],
])('a stream of %s answers each question in order and ends well', async (_name, Client) => {
  const { answers, code } = await ask(
    [
      { $case: 'listServices', value: '' },
      { $case: 'fileContainingSymbol', value: 'holdfast.v1.AuditService' },
      { $case: 'fileByFilename', value: '../../etc/passwd' },
      { $case: 'fileContainingExtension', value: { containingType: 'holdfast.v1.Order', extensionNumber: 7 } },
      { $case: 'allExtensionNumbersOfType', value: 'holdfast.v1.Order' },
    ],
    Client,
  )
  expect(code).toBe(0)
  expect(answers.map(({ messageResponse }) => messageResponse?.$case)).toEqual([
    ...['listServicesResponse', 'fileDescriptorResponse', 'errorResponse', 'errorResponse'],
    'allExtensionNumbersResponse',
  ])
  expect(answers[2]?.messageResponse?.value).toEqual({ errorCode: 5, errorMessage: 'There is no such name here.' })
})

test('a question that breaks its rules ends the stream as the caller’s error', async () => {
  const { answers, code } = await ask([
    { $case: 'listServices', value: '' },
    { $case: 'fileByFilename', value: 'x'.repeat(513) },
  ])
  expect(code).toBe(3)
  expect(answers).toHaveLength(1)
  expect((await ask([undefined])).code).toBe(3)
})

test('a body that is no question is the caller’s error', async () => {
  const answer = await callRaw(front.adminAddress, INFO, Buffer.from([0xff, 0xff, 0xff]), [
    ['authorization', `Bearer ${await front.tokenOf(admin)}`],
  ])
  expect(answer).toMatchObject({ code: 'INVALID_ARGUMENT', detail: { reason: 'FIELD_INVALID' } })
})

test('a stream that its client leaves open is ended by the stop, and one that is cut off harms nothing', async () => {
  const other = await createTestFront(database)
  const open = async () => {
    const client = new ServerReflectionClient(other.adminAddress, credentials.createInsecure())
    const metadata = new Metadata()
    metadata.set('authorization', `Bearer ${await other.tokenOf(admin)}`)
    const stream = client.serverReflectionInfo(metadata)
    const ended = new Promise<number>((resolve) => stream.on('status', ({ code }) => resolve(code)))
    stream.on('error', () => undefined)
    const first = new Promise((resolve) => stream.once('data', resolve))
    stream.write({ host: '', messageRequest: { $case: 'listServices', value: '' } })
    await first
    return { client, stream, ended }
  }
  const [left, cut] = [await open(), await open()]
  cut.stream.cancel()
  expect(await cut.ended).toBe(1)
  const stopped = other.stop()
  expect(await left.ended).toBe(14)
  await stopped
  for (const { client } of [left, cut]) client.close()
})
