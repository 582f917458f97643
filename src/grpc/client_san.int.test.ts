// A machine that is bound to a certificate, over real TLS: its token alone is not enough.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { makeCertificate } from '../../test/support/certificate.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type Caller, type TestFront } from '../../test/support/front.ts'
import { CALL_WITHIN_MS } from '../../test/support/until.ts'
import { createClient } from './client.ts'
import { openServerTls, type ServerTls } from './tls.ts'

const authority = makeCertificate({ name: 'test authority', isAuthority: true })
const clients = makeCertificate({ name: 'authority of clients', isAuthority: true })
const foreign = makeCertificate({ name: 'another authority', isAuthority: true })
const SAN = 'spiffe://shop/basket'
const basket: Caller = { role: 'service', subject: 'basket' }

let folder: string
let database: TestDatabase
let tls: ServerTls
let front: TestFront

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-san-'))
  const [certFile, keyFile, clientCaFile] = ['cert.pem', 'key.pem', 'ca.pem'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  const own = makeCertificate({ issuer: authority })
  await Promise.all([writeFile(certFile, own.cert), writeFile(keyFile, own.key), writeFile(clientCaFile, clients.cert)])
  tls = await openServerTls({ certFile, keyFile, clientCaFile, onReload: () => undefined, onRefused: () => undefined })
  database = await createTestDatabase()
  const deps = { clientSans: new Map([[basket.subject, SAN]]) }
  front = await createTestFront(database, { credentials: tls.credentials, deps })
})
afterAll(async () => {
  await front.stop()
  tls.stop()
  await database.drop()
  await rm(folder, { recursive: true })
})

type Issuer = typeof clients
const certificateOf = (issuer: Issuer, uri: string) => makeCertificate({ issuer, uris: [uri], name: 'a client' })

/** How a call by this caller ends that shows this certificate. */
async function outcomeOf(caller: Caller, shown?: ReturnType<typeof certificateOf>): Promise<string> {
  const client = createClient({
    deadlineMs: CALL_WITHIN_MS,
    address: `localhost:${front.address.split(':')[1]}`,
    token: () => front.tokenOf(caller),
    tls: {
      ca: Buffer.from(authority.cert),
      ...(shown !== undefined && { cert: Buffer.from(shown.cert), key: Buffer.from(shown.key) }),
    },
  })
  return client.catalog
    .listProducts({})
    .then(
      () => 'answered',
      ({ reason }: { reason: string }) => reason,
    )
    .finally(client.close)
}

test.each([
  ['its own certificate', () => certificateOf(clients, SAN), 'answered'],
  ['none', () => undefined, 'CREDENTIALS_INVALID'],
  ['that of another machine', () => certificateOf(clients, 'spiffe://shop/other'), 'CREDENTIALS_INVALID'],
  ['its name from another authority', () => certificateOf(foreign, SAN), 'CREDENTIALS_INVALID'],
])('a bound machine that shows %s', async (_what, show, outcome) => {
  expect(await outcomeOf(basket, show())).toBe(outcome)
})

test('a person needs no certificate', async () => {
  expect(await outcomeOf(customer(7))).toBe('answered')
})
