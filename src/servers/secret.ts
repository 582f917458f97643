// What production is given by its operator, a development stack makes for itself: keyrings, token and order id
// secrets, the watcher's signature, the database roles' passwords. Made once per data directory and marked, so that
// no production process accepts them.

import { randomBytes, randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** src/keyvault/secret.ts refuses what begins so in production. */
const MARK = 'development-'
const SECRET_BYTES = 32
const PASSWORD_BYTES = 18
const OWNER_ONLY = 0o600

/** Paths of the files; their formats are those of src/keyvault. */
export type SecretFiles = {
  readonly jwt: string
  readonly keyRing: string
  readonly piiRing: string
  readonly orderId: string
  readonly sources: string
  readonly sourceSecret: string
  readonly watcherToken: string
}

/** Makes the files that are missing in `dir`. @param source the watcher's name among the sources of reports */
export async function ensureSecrets(dir: string, source: string): Promise<SecretFiles> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const path = (name: string) => join(dir, name)
  const sourceSecret = await ensureFile(path('source-secret'), secret)
  return {
    jwt: (
      await ensureFile(path('jwt.json'), () => JSON.stringify({ keys: [{ kid: 'development', secret: secret() }] }))
    ).path,
    keyRing: (await ensureFile(path('key-ring.json'), ring)).path,
    piiRing: (await ensureFile(path('pii-ring.json'), ring)).path,
    orderId: (await ensureFile(path('order-id'), secret)).path,
    sources: (
      await ensureFile(path('sources.json'), () =>
        JSON.stringify({ sources: [{ name: source, algorithm: 'sha256', secrets: [sourceSecret.text] }] }),
      )
    ).path,
    sourceSecret: sourceSecret.path,
    watcherToken: path('watcher-token'),
  }
}

/** A password per database role. */
export async function ensurePasswords<Role extends string>(
  dir: string,
  roles: readonly Role[],
): Promise<Readonly<Record<Role, string>>> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const { text } = await ensureFile(join(dir, 'passwords.json'), () =>
    JSON.stringify(Object.fromEntries(roles.map((role) => [role, randomBytes(PASSWORD_BYTES).toString('base64url')]))),
  )
  return JSON.parse(text) as Record<Role, string>
}

/** Replaces a file that others read at any moment: they see the old text or the new one, whole. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const draft = await writeDraft(path, text)
  await rename(draft, path)
}

const secret = (): string => Buffer.concat([Buffer.from(MARK), randomBytes(SECRET_BYTES)]).toString('base64')

/** Two versions, as production must have. */
const ring = (): string =>
  JSON.stringify({ primary: 2, versions: [1, 2].map((version) => ({ version, secret: secret() })) })

async function ensureFile(path: string, make: () => string): Promise<{ path: string; text: string }> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found !== undefined) return { path, text: found }
  const text = make()
  const draft = await writeDraft(path, text)
  // Linked and not renamed: what is sealed under a secret that was there already must not lose it.
  try {
    await link(draft, path)
  } finally {
    await rm(draft)
  }
  return { path, text }
}

async function writeDraft(path: string, text: string): Promise<string> {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, text, { mode: OWNER_ONLY })
  return draft
}
