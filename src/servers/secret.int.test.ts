// Files of a data directory: the secrets a development stack makes, and the claim that keeps a second stack out.

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadRing } from '../keyvault/ring.ts'
import { parseSecret } from '../keyvault/secret.ts'
import { loadSources } from '../keyvault/signature.ts'
import { loadTokenSecrets } from '../keyvault/token.ts'
import { claimDataDir } from './claim.ts'
import { ensureSecrets, passwordsOf, replaceFile } from './secret.ts'

/** Above the highest process id of any system. */
const NO_PROCESS = 2 ** 30

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdfast-secret-'))
})
afterAll(() => rm(dir, { recursive: true }))

const readAll = (paths: readonly string[]): Promise<string[]> =>
  Promise.all(paths.map((path) => readFile(path, 'utf8')))

test('secrets are made once, for their owner alone, and stay the same', async () => {
  const files = await ensureSecrets(join(dir, 'once'), 'watcher-1')
  // Written later, by the stack.
  const made = Object.values(files).filter((path) => path !== files.watcherToken)
  const first = await readAll(made)
  for (const path of made) expect((await stat(path)).mode & 0o777).toBe(0o600)
  await ensureSecrets(join(dir, 'once'), 'watcher-1')
  expect(await readAll(made)).toEqual(first)
})

test('the key vault takes them in development and refuses each one in production', async () => {
  const files = await ensureSecrets(join(dir, 'mode'), 'watcher-1')
  const [jwt = '', keyRing = '', piiRing = '', orderId = '', sources = '', source = ''] = await readAll([
    ...[files.jwt, files.keyRing, files.piiRing, files.orderId, files.sources, files.sourceSecret],
  ])
  const loaders = [
    (mode: 'production' | 'development') => loadTokenSecrets(jwt, mode),
    (mode: 'production' | 'development') => loadRing('key', keyRing, mode),
    (mode: 'production' | 'development') => loadRing('pii', piiRing, mode),
    (mode: 'production' | 'development') => parseSecret('order id', orderId, mode),
    (mode: 'production' | 'development') => loadSources(sources, mode),
    (mode: 'production' | 'development') => parseSecret('source', source, mode),
  ]
  for (const load of loaders) {
    expect(load('development')).toBeDefined()
    expect(() => load('production')).toThrow(/development value/)
  }
  expect(loadSources(sources, 'development').get('watcher-1')?.reportsPerMinute).toBe(600_000)
  const [known] = loadSources(sources, 'development').get('watcher-1')?.secrets ?? []
  expect(known?.toString('base64')).toBe(source)
})

test('every stack on one server derives the same passwords, another server other ones', () => {
  const roles = ['app_api', 'watcher'] as const
  const first = passwordsOf('postgres://me:one@127.0.0.1/a', roles)
  expect(passwordsOf('postgres://me:one@127.0.0.1/b', roles)).toEqual(first)
  expect(passwordsOf('postgres://me:two@127.0.0.1/a', roles)).not.toEqual(first)
  expect(first.app_api).not.toBe(first.watcher)
})

test('a server without a password gets passwords that nobody can derive', () => {
  const url = 'postgres://me@127.0.0.1/a'
  expect(passwordsOf(url, ['watcher'])).not.toEqual(passwordsOf(url, ['watcher']))
})

test('a file that is replaced is never seen half-written', async () => {
  const path = join(dir, 'token')
  const texts = ['a', 'b'].map((letter) => letter.repeat(100_000))
  await replaceFile(path, 'a'.repeat(100_000))
  const writing = (async () => {
    for (let round = 0; round < 20; round += 1) await replaceFile(path, texts[round % 2] ?? '')
  })()
  for (let round = 0; round < 50; round += 1) expect(texts).toContain(await readFile(path, 'utf8'))
  await writing
})

test('a data directory belongs to one stack at a time', async () => {
  const home = join(dir, 'claim')
  const claim = await claimDataDir(home)
  expect(claim.isAfterCrash).toBe(false)
  await expect(claimDataDir(home)).rejects.toThrow(new RegExp(`in use by process ${process.pid}: .*--data-dir`))
  await claim.release()
  const next = await claimDataDir(home)
  expect(next.isAfterCrash).toBe(false)
  await next.release()
})

test('the claim of a stack that was killed is taken over, and its successor knows', async () => {
  const home = join(dir, 'crash')
  await (await claimDataDir(home)).release()
  await writeFile(join(home, 'stack.pid'), String(NO_PROCESS))
  const claim = await claimDataDir(home)
  expect(claim.isAfterCrash).toBe(true)
  await claim.release()
})
