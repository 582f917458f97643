// The log line and the metric of a refused token say which check failed; its caller is not told.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, failureOf, type TestFront } from '../../test/support/front.ts'
import { createForge, hmacSigner } from '../../test/support/hostile_token.ts'
import { until } from '../../test/support/until.ts'
import { createTokenVerifier, loadTokenSecrets } from '../keyvault/token.ts'

const SECRET = Buffer.alloc(32, 5)
const secrets = loadTokenSecrets(
  JSON.stringify({ keys: [{ kid: 'kid-1', secret: SECRET.toString('base64') }] }),
  'production',
)
const frame = {
  issuer: 'issuer-1',
  audience: 'shop-1',
  nowS: Math.floor(Date.now() / 1_000),
  url: 'http://127.0.0.1:1',
}
const forge = createForge({ alg: 'HS256', kid: 'kid-1', sign: hmacSigner(SECRET), publicTexts: [] }, frame)

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  const verifyToken = createTokenVerifier({ secrets, issuer: frame.issuer, audience: frame.audience })
  front = await createTestFront(database, { deps: { verifyToken } })
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

test.each<[string, string]>([
  ['shape', 'canary'],
  ['kid', forge({ kid: 'canary' })],
  ['signature', forge({}, { sub: '8' }, () => 'canary')],
  ['typ', forge({ typ: 'canary' })],
  ['iss', forge({}, { iss: 'canary' })],
  ['aud', forge({}, { aud: 'canary' })],
  ['exp', forge({}, { exp: frame.nowS - 60 })],
  ['sub', forge({}, { sub: 'canary' })],
  ['roles', forge({}, { roles: ['canary'] })],
])('a token that fails the check of %s is logged and counted under that name alone', async (check, token) => {
  const failure = await failureOf(front.with(token).order.listOrders({ limit: 1, userId: 7n }))
  expect(failure).toMatchObject({
    reason: 'CREDENTIALS_INVALID',
    message: 'The call carries no valid access token.',
    metadata: {},
    violations: [],
  })
  const lines = () => front.logLines().filter((line) => line.includes(`"check":"${check}"`))
  await until(() => lines().length > 0)
  const { err, reason } = JSON.parse(lines()[0] ?? '{}') as Record<string, unknown>
  expect({ err, reason }).toEqual({ err: undefined, reason: 'CREDENTIALS_INVALID' })
  const text = front.logLines().join('')
  expect(text).not.toContain('canary')
  expect(text).not.toContain(token)
  const counted = await front.registry.getSingleMetric('holdfast_auth_failures_total')?.get()
  expect(counted?.values.find(({ labels }) => labels['check'] === check)?.value).toBe(1)
})
