import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auditor, createTestFront, type TestFront } from '../../../test/support/front.ts'
import { createTestSealer, type TestSealer } from '../../../test/support/sealing.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { loadConfig } from '../../config.ts'
import { endingOf, EXIT } from './exit.ts'
import { createProgram } from './program.ts'

let shop: TestShop
let front: TestFront
let sealing: TestSealer
let folder: string
let publicKeys: string

beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test)
  sealing = await createTestSealer(shop.test)
  folder = await mkdtemp(join(tmpdir(), 'holdfast-audit-'))
  publicKeys = join(folder, 'public.pem')
  await writeFile(publicKeys, sealing.publicKey)
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  await sealing.close()
  await front.stop()
  await shop.close()
})

/** What a command prints, and its exit code. */
async function holdfast(...args: string[]): Promise<{ said: string; code: number; message: string }> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const shell = {
    config: loadConfig('cli', {
      DATABASE_URL: shop.test.urlOf('auditor'),
      HOLDFAST_AUDIT_FILE: sealing.file,
      HOLDFAST_TOKEN: await front.tokenOf(auditor),
      HOLDFAST_SEAL_PUBLIC_KEYS_FILE: publicKeys,
    }),
    write: say,
    complain: say,
    untilInterrupted: () => AbortSignal.any([]),
  }
  const door = ['--ready-file', '/nowhere/ready.json', '--admin', front.adminAddress]
  const line = [...args, ...door]
  const ending = await createProgram(shell)
    .parseAsync(line, { from: 'user' })
    .then(
      () => ({ code: EXIT.ok, message: '' }),
      (error: unknown) => endingOf(error),
    )
  return { said: said.join(''), ...ending }
}

test('audit verify says that all is well, or where history broke, and exits with 1', async () => {
  const { order } = await shop.orderIn('delivered')
  await sealing.seal()
  await shop.order()
  const clean = await holdfast('audit', 'verify')
  expect(clean).toMatchObject({ code: 0, message: '' })
  expect(clean.said).toMatch(
    /^entries +\d+\n[\s\S]*not yet sealed +[1-9][\s\S]*verdict +the history matches its checkpoints\n$/,
  )

  await shop.query(
    `begin; set local session_replication_role = replica;
     update audit_entry set body = replace(body, 'delivered', 'cancelled') where kind = 'order' and aggregate_id = '${order.orderId}'; commit`,
  )
  const broken = await holdfast('audit', 'verify')
  expect(broken.code).toBe(EXIT.unexpected)
  expect(broken.message).toMatch(/^\d+ findings: history was changed$/)
  expect(broken.said).toContain(`order ${order.orderId}`)
  const { isRight, findings } = JSON.parse((await holdfast('audit', 'verify', '--json')).said) as {
    isRight: boolean
    findings: { check: string; aggregateId?: string; meaning: string }[]
  }
  expect(isRight).toBe(false)
  expect(findings).toContainEqual(expect.objectContaining({ check: 'entry_hash', aggregateId: order.orderId }))
  await shop.query(
    `begin; set local session_replication_role = replica;
     update audit_entry set body = replace(body, 'cancelled', 'delivered') where kind = 'order' and aggregate_id = '${order.orderId}'; commit`,
  )
  expect((await holdfast('audit', 'verify')).code).toBe(0)
})

test('audit proof gives a file that audit check believes with the public key alone, and no other', async () => {
  const { order } = await shop.orderIn('shipped')
  await sealing.seal()
  const { said, code } = await holdfast('audit', 'proof', order.orderId)
  expect(code).toBe(0)
  const path = join(folder, 'proof.json')
  await writeFile(path, said)
  const good = await holdfast('audit', 'check', path)
  expect(good).toMatchObject({ code: 0 })
  expect(good.said).toMatch(/^proven +[1-9]\d*\nnot yet sealed +0\n$/)

  const changes: [string, RegExp, string][] = [
    ['a word', /shipped/, 'stolen'],
    ['a hash on a path', /("path": \[\s+")[0-9a-f]{4}/, '$1beef'],
    ['the root', /("root": ")[0-9a-f]{4}/, '$1beef'],
    ['the order', new RegExp(`"orderId": "${order.orderId}"`), '"orderId": "00000000-0000-8000-8000-000000000000"'],
    ['a place', /"leafIndex": \d+/, '"leafIndex": 0'],
  ]
  for (const [what, from, to] of changes) {
    const forged = (await readFile(path, 'utf8')).replace(from, to)
    await writeFile(join(folder, 'forged.json'), forged)
    const { message, code: refused } = await holdfast('audit', 'check', join(folder, 'forged.json'))
    expect([what, refused, message]).toEqual([what, EXIT.unexpected, 'the proof is not valid'])
  }
  await writeFile(join(folder, 'forged.json'), '{}')
  expect((await holdfast('audit', 'check', join(folder, 'forged.json'))).code).toBe(EXIT.usage)
})

test('what is not there is named', async () => {
  expect(await holdfast('audit', 'check', '/nowhere/proof.json')).toMatchObject({
    ...{ code: EXIT.usage, message: '/nowhere/proof.json cannot be read' },
  })
  expect(await holdfast('audit', 'verify', '--file', '/nowhere/checkpoints')).toMatchObject({
    ...{ code: EXIT.usage, message: '/nowhere/checkpoints cannot be read' },
  })
})
