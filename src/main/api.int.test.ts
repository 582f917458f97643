// The api process as it is deployed: a child on a real Postgres, under its own role, with no engine to be found.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import {
  API_ADDRESSES,
  API_FILES,
  createApiFixture,
  customerToken,
  type ApiFixture,
} from '../../test/support/api_process.ts'
import { putProduct } from '../../test/support/builder.ts'
import { makeCertificate } from '../../test/support/certificate.ts'
import { callHttp2 } from '../../test/support/raw_http2.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { createClient, ServingStatus } from '../grpc/client.ts'

const RATE = { HOLDFAST_ETH_RATE: '2000.00' }

let fixture: ApiFixture
beforeEach(async () => {
  fixture = await createApiFixture()
})
afterEach(() => fixture.close())

/** Starts the process in production mode with these secret files. */
const start = (
  files: Readonly<Record<string, string>> = API_FILES,
  changes: Readonly<Record<string, string | undefined>> = {},
) => fixture.start(files, { ...RATE, ...changes })

describe('the api process', () => {
  test('serves without an engine, tells of itself, and stops in order when asked', async () => {
    const api = await start()
    await until(async () => (await api.get('/readyz')).ok)
    const client = createClient({ deadlineMs: CALL_WITHIN_MS, address: api.address, token: () => customerToken(7) })
    expect(await client.health.check({})).toEqual({ status: ServingStatus.SERVING })
    await fixture.followChain()
    const { productId, unitPrice } = await putProduct(fixture.database)
    const order = await client.order.createOrder({
      idempotencyKey: crypto.randomUUID(),
      userId: 7n,
      lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
      asset: 'ETH',
      shippingAddress: 'Canary Wharf 7',
    })
    expect(order.total).toBe('12.50')
    client.close()
    const metrics = await (await api.get('/metrics')).text()
    expect(metrics).toContain(`holdfast_leased_addresses{network="ethereum",process="api"} ${API_ADDRESSES - 1}`)
    expect(metrics).toContain('holdfast_accept_queue{process="api"} 0')
    expect(metrics).toMatch(/grpc_method="CreateOrder",grpc_code="OK",process="api"\} 1/)

    const { code, output } = await api.stop()
    expect(code).toBe(0)
    expect(output).toContain('api serves')
    expect(output).toContain('api stopped')
    expect(output).not.toContain('Canary')
  })

  test('is alive but not ready while the schema is not this build’s', async () => {
    const api = await start()
    await until(async () => (await api.get('/readyz')).ok)
    const [newest] = await fixture.database.query<{ version: bigint }>(
      'delete from schema_version where version = (select max(version) from schema_version) returning *',
    )
    await until(async () => (await api.get('/readyz')).status === 503)
    expect((await api.get('/healthz')).status).toBe(200)
    const client = createClient({ deadlineMs: CALL_WITHIN_MS, address: api.address, token: () => '' })
    expect(await client.health.check({})).toEqual({ status: ServingStatus.NOT_SERVING })
    client.close()
    const columns = Object.keys(newest ?? {})
    await fixture.database.query(
      `insert into schema_version (${columns.join(', ')}) values (${columns.map((_, at) => `$${at + 1}`).join(', ')})`,
      Object.values(newest ?? {}),
    )
    await until(async () => (await api.get('/readyz')).ok)
  })

  test('is not ready during its whole drain, reports NOT_SERVING, and still answers', async () => {
    const api = await start(API_FILES, { HOLDFAST_DRAIN_MS: '6000' })
    await until(async () => (await api.get('/readyz')).ok)
    const client = createClient({ deadlineMs: CALL_WITHIN_MS, address: api.address, token: () => '' })
    const watch = client.health.check({})
    expect(await watch).toEqual({ status: ServingStatus.SERVING })
    api.child.kill('SIGTERM')
    await until(async () => (await api.get('/readyz')).status === 503)
    let looks = 0
    while ((await api.health()) !== undefined) {
      const health = await api.health()
      if (health !== undefined) expect(health).toEqual({ healthz: 200, readyz: 503 })
      const serving = await client.health.check({}, { deadlineMs: 10_000 }).catch(() => undefined)
      if (serving !== undefined) {
        expect(serving).toEqual({ status: ServingStatus.NOT_SERVING })
        looks += 1
      }
    }
    client.close()
    expect(looks).toBeGreaterThan(1)
    expect((await api.ended).code).toBe(0)
  })

  test('listens on IPv6 where it is told to', async () => {
    const api = await start(API_FILES, { HOLDFAST_BIND: '::1' })
    await until(async () => (await api.get('/readyz')).ok)
    const client = createClient({
      deadlineMs: CALL_WITHIN_MS,
      address: api.address.replace('127.0.0.1', '[::1]'),
      token: () => '',
    })
    expect(await client.health.check({})).toEqual({ status: ServingStatus.SERVING })
    client.close()
  })

  test.each(['HOLDFAST_BIND', 'HOLDFAST_ADMIN_BIND', 'HOLDFAST_METRICS_BIND'])(
    'names the address that it cannot listen on: %s',
    async (name) => {
      // A network for documentation: no machine has it.
      const { code, output } = await (await start(API_FILES, { [name]: '192.0.2.1' })).ended
      expect(code).toBe(1)
      expect(output).toContain(`${name}: this machine does not have that address`)
      expect(output).not.toContain(`or ${name}`)
    },
  )

  test('serves TLS in production on both ports, and tells when its certificate ends', async () => {
    const { cert, key } = makeCertificate()
    const [certFile, keyFile] = [join(fixture.folder, 'cert.pem'), join(fixture.folder, 'key.pem')]
    await writeFile(certFile, cert)
    await writeFile(keyFile, key)
    const api = await start(API_FILES, {
      ...{ HOLDFAST_TLS: undefined, HOLDFAST_TLS_CERT_FILE: certFile, HOLDFAST_TLS_KEY_FILE: keyFile },
      HOLDFAST_ADMIN_CIDRS: '127.0.0.0/8',
    })
    await until(async () => (await api.get('/readyz')).ok)
    for (const address of [api.address, api.adminAddress]) {
      const tls = { ca: Buffer.from(cert) }
      const client = createClient({
        deadlineMs: CALL_WITHIN_MS,
        address: address.replace('127.0.0.1', 'localhost'),
        token: () => '',
        tls,
      })
      expect(await client.health.check({})).toEqual({ status: ServingStatus.SERVING })
      client.close()
      const plain = createClient({ deadlineMs: CALL_WITHIN_MS, address, token: () => '' })
      await expect(plain.health.check({})).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      plain.close()
    }
    const ends = /holdfast_tls_certificate_expiry_timestamp_seconds{process="api"} (\d+)/
    const [, endsAtS] = ends.exec(await (await api.get('/metrics')).text()) ?? []
    expect(Number(endsAtS) * 1_000).toBeGreaterThan(Date.now())
    await writeFile(keyFile, 'broken')
    await until(async () => (await (await api.get('/metrics')).text()).includes('certificate_stale{process="api"} 1'))
    expect((await api.stop()).output).not.toContain('broken')
  })

  test('does not start in production with anything unsafe, and one error lists all of it', async () => {
    const { code, output } = await (
      await start(
        {
          ...API_FILES,
          HOLDFAST_JWT_SECRETS_FILE: JSON.stringify({ keys: [{ kid: 'a', secret: 'c2hvcnQ=' }] }),
          HOLDFAST_ORDER_ID_SECRET_FILE: Buffer.from(`development-${'x'.repeat(32)}`).toString('base64'),
        },
        {
          ...{ HOLDFAST_TLS: undefined, HOLDFAST_REFLECTION: 'on', GRPC_TRACE: 'all', NODE_OPTIONS: '--inspect=0' },
          DATABASE_URL: 'postgresql://app_api:secret@db.example/holdfast',
          ...{ HOLDFAST_JWKS_URL: 'http://issuer.example', HOLDFAST_ETH_RATE: 'cheap' },
        },
      )
    ).ended
    expect(code).toBe(1)
    for (const problem of [
      'HOLDFAST_TLS_CERT_FILE: is not set',
      'HOLDFAST_REFLECTION: shows the whole API',
      'GRPC_TRACE: may print tokens',
      'NODE_OPTIONS: --inspect is for debugging',
      'DATABASE_URL: the connection is not protected',
      'DATABASE_URL: the password is a default',
      'HOLDFAST_JWT_SECRETS_FILE: ',
      'HOLDFAST_ORDER_ID_SECRET_FILE is a development value',
      'HOLDFAST_JWKS_URL: excludes HOLDFAST_JWT_SECRETS_FILE',
      'HOLDFAST_JWKS_URL: the URL of the key set must begin with https',
      'HOLDFAST_ETH_RATE: must be a price',
    ])
      expect(output).toContain(`  ${problem}`)
    expect(output).not.toMatch(/c2hvcnQ|xxxx|:secret@/)
  })

  test('lists what is wrong with its certificates by the variables, with all other problems', async () => {
    const files = { HOLDFAST_CLIENT_SANS_FILE: '{}', HOLDFAST_TLS_CERT_FILE: makeCertificate().cert }
    const { output } = await (
      await start(
        { ...API_FILES, ...files, HOLDFAST_TLS_KEY_FILE: makeCertificate().key },
        { HOLDFAST_TLS: undefined, TEMPORAL_TLS_CA_FILE: '/nowhere/ca.pem', GRPC_TRACE: 'all' },
      )
    ).ended
    for (const problem of [
      'HOLDFAST_TLS_CERT_FILE: the key does not fit the certificate',
      'TEMPORAL_TLS_CA_FILE: cannot read the file it names',
      'HOLDFAST_CLIENT_SANS_FILE: must have {"clients"',
      'GRPC_TRACE: may print tokens',
    ])
      expect(output).toContain(`  ${problem}`)
  })

  test.each([
    [
      'a short token secret',
      { HOLDFAST_JWT_SECRETS_FILE: JSON.stringify({ keys: [{ kid: 'a', secret: 'c2hvcnQ=' }] }) },
      /fewer than 32 bytes/,
    ],
    [
      'a development secret',
      { HOLDFAST_ORDER_ID_SECRET_FILE: Buffer.from(`development-${'x'.repeat(32)}`).toString('base64') },
      /HOLDFAST_ORDER_ID_SECRET_FILE is a development value/,
    ],
    [
      'secrets and an issuer together',
      { HOLDFAST_JWKS_URL: 'a set of keys' },
      /HOLDFAST_JWKS_URL: excludes HOLDFAST_JWT_SECRETS_FILE/,
    ],
    ['sources that are no JSON', { HOLDFAST_SOURCES_FILE: 'hello' }, /report sources is not JSON/],
  ])('does not start with %s, and says why without showing it', async (_name, files, reason) => {
    const { code, output } = await (await start({ ...API_FILES, ...files })).ended
    expect(code).toBe(1)
    expect(output).toMatch(reason)
    for (const content of Object.values(files)) expect(output).not.toContain(content)
  })
})

test('what strangers put into headers is in none of its lines, and a flood of it writes few', async () => {
  const api = await start()
  await until(async () => (await api.health())?.readyz === 200)
  const before = api.output().length
  const headers = {
    authorization: 'Bearer CANARY7f3a\u00ff',
    'x-request-id': 'CANARY7f3a',
    'x-pad': `\u00ff${'x'.repeat(3_000)}`,
  }
  const answers = await callHttp2(
    api.address,
    '/holdfast.v1.OrderService/GetOrder',
    Array.from({ length: 300 }, () => ({ headers })),
  )
  // A machine that is busy sheds some of three hundred calls at once.
  const codes = new Set(answers.map(({ code }) => code))
  expect(codes).toContain('UNAUTHENTICATED')
  expect([...codes].filter((code) => code !== 'UNAUTHENTICATED' && code !== 'RESOURCE_EXHAUSTED')).toEqual([])
  await until(() => api.output().includes('header dropped'))
  expect(api.output()).not.toContain('CANARY7f3a')
  expect(api.output().slice(before).length).toBeLessThan(10_000)
})
