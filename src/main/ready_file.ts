// The ready file of a running stack: its addresses, and tokens for callers. `npm start` writes it once all parts are
// healthy and renews its tokens; the CLI and other programs read it.

import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { Role } from '../domain/access.ts'

/** Where `npm start` keeps its stack by default. */
export const DEFAULT_DATA_DIR = fileURLToPath(new URL('../../.data/start', import.meta.url))
export const readyFileIn = (dataDir: string): string => join(dataDir, 'ready.json')

/** The callers that get tokens of a development stack. `subject` is a user id for people, else a name. */
export const PEOPLE = {
  customer1: { role: 'customer', subject: '1' },
  customer2: { role: 'customer', subject: '2' },
  admin: { role: 'admin', subject: '101' },
  /** Refunds need two people. */
  admin2: { role: 'admin', subject: '104' },
  fulfilment: { role: 'fulfilment', subject: '102' },
  auditor: { role: 'auditor', subject: '103' },
  watcher: { role: 'watcher', subject: 'watcher-1' },
  service: { role: 'service', subject: 'service-1' },
} as const satisfies Record<string, { role: Role; subject: string }>
export type Person = keyof typeof PEOPLE

const address = z.string().min(1)
const READY = z.object({
  /** The process that runs the stack; SIGTERM stops it in order. */
  pid: z.number().int(),
  dataDir: z.string(),
  /** host:port of gRPC, public and admin. */
  api: address,
  admin: address,
  temporal: z.object({ address, namespace: z.string(), ui: z.url().optional() }),
  /** With the superuser's login. */
  database: z.url(),
  /** For `holdfast audit verify`: a read-only login, the sealer's file, and its public keys. */
  audit: z.object({ database: z.url(), file: z.string(), publicKeys: z.string() }),
  chains: z.object({ ethereum: z.url().optional() }),
  /** /metrics and /readyz of each process. */
  metrics: z.record(z.string(), z.url()),
  /** The secret to sign more tokens with. */
  jwt: z.object({ secretsFile: z.string(), issuer: z.string(), audience: z.string() }),
  /** By person. All are renewed before they expire; this file then changes. */
  tokens: z.record(z.string(), z.object({ role: z.string(), subject: z.string(), token: z.string() })),
  tokensEndAt: z.iso.datetime(),
})
export type Ready = z.output<typeof READY>

/** Replaces the file atomically: readers see the old one or the new one. Only its owner can read it. */
export async function writeReady(path: string, ready: Ready): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, `${JSON.stringify(ready, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, path)
}

/** Undefined where there is no such file: no stack runs there. @throws {Error} when it is not a ready file */
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

/** The shell's command that selects a ready file, whatever characters its path has. */
export const exportOf = (path: string): string =>
  `export HOLDFAST_READY_FILE=${/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`}`
