import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { freePorts } from './port.ts'
import { removePostgres, startPostgres, type Postgres } from './postgres.ts'

let dataDir: string
let port: number
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-postgres-'))
  port = (await freePorts(1))[0] ?? 0
})
afterEach(async () => {
  await removePostgres(dataDir)
  await rm(dataDir, { recursive: true })
})

const start = () => startPostgres({ dataDir, port, maxConnections: 20 })

async function query(postgres: Postgres, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: postgres.urlOf('postgres') })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

test('what was committed is there after kill -9 and a start right after it', async () => {
  const first = await start()
  await query(first, 'create table kept (value int)')
  await query(first, 'insert into kept values (1)')
  await first.kill9()
  const second = await start()
  expect(await query(second, 'select value from kept')).toEqual([{ value: 1 }])
  await second.stop()
})

test('a second server on the same port is refused, and the first goes on', async () => {
  const first = await start()
  await expect(start()).rejects.toThrow(`port ${port} is in use, and Postgres needs it`)
  expect(await query(first, 'select 1 as one')).toEqual([{ one: 1 }])
  await first.stop()
})

test('it listens on the loopback address alone and flushes each commit to disk', async () => {
  const postgres = await start()
  const rows = await query(
    postgres,
    `select name, setting from pg_settings
     where name in ('listen_addresses', 'unix_socket_directories', 'fsync', 'synchronous_commit', 'password_encryption')
     order by name`,
  )
  await postgres.stop()
  expect(rows).toEqual([
    { name: 'fsync', setting: 'on' },
    { name: 'listen_addresses', setting: '127.0.0.1' },
    { name: 'password_encryption', setting: 'scram-sha-256' },
    { name: 'synchronous_commit', setting: 'on' },
    { name: 'unix_socket_directories', setting: '' },
  ])
})

test('removing it leaves nothing of it', async () => {
  const postgres = await start()
  await postgres.stop()
  await removePostgres(dataDir)
  expect(await readdir(dataDir)).toEqual(['log'])
})
