// The file by which a running stack is found: every address, and tokens for whoever calls it. `npm start` writes it
// once all is healthy and keeps its tokens fresh; the CLI and other programs read it.

import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { Role } from '../domain/access.ts'

/** Where `npm start` keeps its stack, unless told otherwise. */
export const DEFAULT_DATA_DIR = fileURLToPath(new URL('../../.data/start', import.meta.url))
export const readyFileIn = (dataDir: string): string => join(dataDir, 'ready.json')

/** Who a development stack gives tokens to; `subject` as tokens have it: a user id for people, else a name. */
export const PEOPLE = {
  customer1: { role: 'customer', subject: '1' },
  customer2: { role: 'customer', subject: '2' },
  admin: { role: 'admin', subject: '101' },
  fulfilment: { role: 'fulfilment', subject: '102' },
  auditor: { role: 'auditor', subject: '103' },
  watcher: { role: 'watcher', subject: 'watcher-1' },
  service: { role: 'service', subject: 'service-1' },
} as const satisfies Record<string, { role: Role; subject: string }>
export type Person = keyof typeof PEOPLE

const address = z.string().min(1)
const READY = z.object({
  /** Of the process that runs the stack: SIGTERM stops it in order. */
  pid: z.number().int(),
  dataDir: z.string(),
  /** host:port of gRPC, public and admin. */
  api: address,
  admin: address,
  temporal: z.object({ address, namespace: z.string(), ui: z.url().optional() }),
  /** The superuser's. */
  database: z.url(),
  /** For `holdfast audit verify`: a login that only reads, the sealer's file, and the keys it signs with. */
  audit: z.object({ database: z.url(), file: z.string(), publicKeys: z.string() }),
  chains: z.object({ ethereum: z.url().optional() }),
  /** /metrics and /readyz of each process. */
  metrics: z.record(z.string(), z.url()),
  /** The secret that tokens are signed with, to sign more of them. */
  jwt: z.object({ secretsFile: z.string(), issuer: z.string(), audience: z.string() }),
  /** By person: `subject` is the token's. All are renewed before they end; this file then changes. */
  tokens: z.record(z.string(), z.object({ role: z.string(), subject: z.string(), token: z.string() })),
  tokensEndAt: z.iso.datetime(),
})
export type Ready = z.output<typeof READY>

/** Writes the file whole: who reads it meanwhile sees the old one or the new one. Open to its owner alone. */
export async function writeReady(path: string, ready: Ready): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, `${JSON.stringify(ready, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, path)
}

/** Undefined where there is no such file: no stack is running there. @throws {Error} when it is something else */
export async function findReady(path: string): Promise<Ready | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  const result = READY.safeParse(JSON.parse(text))
  if (!result.success) throw new Error(`${path} is not the ready file of a stack`)
  return result.data
}
