// Who calls comes from one token alone: hostile tokens on every method of both ports, repeated headers, and metadata that
// claims an identity.

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import {
  createForge,
  hmacSigner,
  hostileTokens,
  keySigner,
  type TokenFamily,
  type TokenFrame,
} from '../../test/support/hostile_token.ts'
import { createRawClient, callRaw, type RawClient } from '../../test/support/raw_call.ts'
import { callHttp2 } from '../../test/support/raw_http2.ts'
import { findSources, readSource } from '../../test/support/source.ts'
import { createIssuerKeys } from '../keyvault/jwks.ts'
import { createTokenVerifier, loadTokenSecrets } from '../keyvault/token.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { ListOrdersRequest, ListOrdersResponse, OrderServiceService } from './gen/holdfast/v1/order.ts'
import { METHODS, PUBLIC_SERVICES, type Method } from './method.ts'

const EMPTY = Buffer.alloc(0)
const LIST = OrderServiceService.listOrders
const TEXT = 'The call carries no valid access token.'
const guarded = METHODS.filter(({ path }) => path !== HealthService.check.path)
const publicPaths = new Set(
  Object.values(PUBLIC_SERVICES).flatMap((service) => Object.values<Method>(service).map(({ path }) => path)),
)

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

/** Tokens that become valid do so 30 s after they are signed. */
const SIGN_AGAIN_AFTER_S = 5

describe.each(['HS256', 'EdDSA'] as const)('hostile tokens, where tokens are signed by %s', (alg) => {
  const issuer = { issuer: 'holdfast-test', audience: 'holdfast-test' }
  const secret = Buffer.alloc(32, 1)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const family: TokenFamily = {
    alg,
    kid: 'test',
    sign: alg === 'HS256' ? hmacSigner(secret) : keySigner(privateKey),
    publicTexts: [publicKey.export({ type: 'spki', format: 'pem' }), publicKey.export({ type: 'spki', format: 'der' })],
  }
  const keys =
    alg === 'HS256'
      ? {
          secrets: loadTokenSecrets(
            JSON.stringify({ keys: [{ kid: 'test', secret: secret.toString('base64') }] }),
            'development',
          ),
        }
      : {
          issuerKeys: createIssuerKeys({
            algorithm: alg,
            load: async () => JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'test' }] }),
          }),
        }

  let elsewhere: HttpServer
  let requests = 0
  let attacked: TestFront
  let ports: { public: RawClient; admin: RawClient }
  let frame: TokenFrame
  let hostile: [string, string][]
  let sign: () => void
  const fetchBefore = globalThis.fetch

  beforeAll(async () => {
    // The network is cut: what asks for anything is found out here.
    elsewhere = createServer((_request, response) => {
      requests += 1
      response.end('{}')
    })
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
    globalThis.fetch = () => {
      requests += 1
      return Promise.reject(new Error('the network is cut'))
    }
    const url = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/keys`
    sign = () => {
      frame = { ...issuer, nowS: Math.floor(Date.now() / 1_000), url }
      // What HTTP itself refuses in a header never reaches the server.
      hostile = hostileTokens(family, frame).filter(([, token]) => /^[!-~]*$/.test(token))
    }
    sign()
    attacked = await createTestFront(database, { deps: { verifyToken: createTokenVerifier({ ...keys, ...issuer }) } })
    ports = { public: createRawClient(attacked.address), admin: createRawClient(attacked.adminAddress) }
  })
  // A token that is not valid yet becomes so: all tests together may take longer.
  beforeEach(() => {
    if (Date.now() / 1_000 - frame.nowS > SIGN_AGAIN_AFTER_S) sign()
  })
  afterAll(async () => {
    globalThis.fetch = fetchBefore
    for (const client of Object.values(ports)) client.close()
    await attacked.stop()
    elsewhere.close()
  })

  test.each(guarded.map((method) => [method.path, method] as const))(
    'are UNAUTHENTICATED in one text on %s, and nothing is fetched',
    async (path, method) => {
      const client = publicPaths.has(method.path) ? ports.public : ports.admin
      expect(hostile.length).toBeGreaterThan(60)
      const answers = await Promise.all(
        hostile.map(async ([name, token]) => {
          const { code, message, detail } = await client.call(path, EMPTY, [['authorization', `Bearer ${token}`]])
          return [name, code, message, detail.reason, Object.keys(detail.metadata).length]
        }),
      )
      expect(answers).toEqual(hostile.map(([name]) => [name, 'UNAUTHENTICATED', TEXT, 'CREDENTIALS_INVALID', 0]))
      expect(requests).toBe(0)
    },
  )

  test('differ from a token that is accepted', async () => {
    const token = createForge(family, frame)()
    const answer = await ports.public.call(LIST.path, EMPTY, [['authorization', `Bearer ${token}`]])
    expect(answer.message).not.toBe(TEXT)
  })
})

describe('repeated headers', () => {
  test.each([
    ['public', () => front.address, LIST.path],
    ['admin', () => front.adminAddress, '/holdfast.v1.StockAdminService/AdjustStock'],
  ] as const)('are no way to have two tokens on the %s port', async (_port, address, path) => {
    const good = `Bearer ${await front.tokenOf(customer(7))}`
    const repeated = [
      [good, good],
      [good, 'Bearer x.y.z'],
      ['Bearer x.y.z', good],
      [good, ''],
      ['', good],
      [good, good, good],
    ]
    const answers = await callHttp2(
      address(),
      path,
      [[good], ...repeated].map((authorization) => ({ headers: { authorization } })),
    )
    const [once, ...others] = answers.map(({ code }) => code)
    expect(once).not.toBe('UNAUTHENTICATED')
    expect(others).toEqual(repeated.map(() => 'UNAUTHENTICATED'))
  })

  test('of a request id are no request id', async () => {
    const [answer] = await callHttp2(front.address, HealthService.check.path, [
      { headers: { 'x-request-id': ['trace-1', 'trace-2'] } },
    ])
    expect(answer?.code).toBe('OK')
    expect(answer?.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('metadata that claim an identity', () => {
  const CLAIMS: [string, string][] = [
    ['x-user-id', '8'],
    ['x-userid', '8'],
    ['x-user', '8'],
    ['x-forwarded-user', '8'],
    ['x-authenticated-userid', '8'],
    ['x-auth-request-user', '8'],
    ['x-role', 'admin'],
    ['x-roles', 'admin'],
    ['roles', 'admin'],
    ['sub', '8'],
    ['x-forwarded-client-cert', 'URI=spiffe://shop/admin'],
    ['x-ssl-client-verify', 'SUCCESS'],
    ['x-jwt-claims', '{"sub":"8","roles":["admin"]}'],
    ['cookie', 'session=admin'],
    ['proxy-authorization', 'Bearer admin'],
  ]
  const list = (userId: bigint, headers: [string, string][]) =>
    callRaw(
      front.address,
      LIST.path,
      LIST.requestSerialize(ListOrdersRequest.fromPartial({ limit: 1, userId })),
      headers,
    )

  test('are not read: the caller stays who its token says', async () => {
    const bearer: [string, string] = ['authorization', `Bearer ${await front.tokenOf(customer(7))}`]
    const own = await list(7n, [bearer, ...CLAIMS])
    expect(own.code).toBe('OK')
    expect(ListOrdersResponse.decode(own.body ?? EMPTY).orders).toEqual([])
    expect((await list(8n, [bearer, ...CLAIMS])).code).toBe('PERMISSION_DENIED')
    const requestId = randomUUID()
    await list(8n, [bearer, ['x-request-id', requestId], ...CLAIMS])
    const line = front.logLines().find((each) => each.includes(requestId))
    expect(JSON.parse(line ?? '{}')).toMatchObject({ actor: 'user:7', roles: ['customer'] })
  })

  test('are no replacement for a token', async () => {
    expect((await list(8n, CLAIMS)).code).toBe('UNAUTHENTICATED')
  })

  test('have no reader in the source: the server reads the token, the request id and what a trusted proxy forwards', () => {
    const server = findSources('src/grpc/*.ts').filter((path) => !/\.test\.ts$|\/client\.ts$/.test(path))
    const reads = server.flatMap((path) =>
      [...readSource(path).matchAll(/[mM]etadata\)?\.(?:get|getMap|toJSON|toHttp2Headers)\([^)]*\)/g)].map(
        ([read]) => `${path}: ${read}`,
      ),
    )
    expect(reads.toSorted()).toEqual([
      "src/grpc/authenticate.ts: metadata.get('authorization')",
      'src/grpc/detail.ts: metadata.get(DETAILS_KEY)',
      'src/grpc/observe.ts: metadata.get(FORWARDED_KEY)',
      'src/grpc/observe.ts: metadata.get(REQUEST_ID_KEY)',
    ])
  })
})
