// Secrets of a development stack: keyrings, token and order id secrets, the watcher's signature, the sealing key, the quote key. In
// production the operator provides them. Made once per data directory and marked, so that no production process accepts
// them.

import { createHmac, createPrivateKey, createPublicKey, randomBytes, randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** In production, src/keyvault/secret.ts refuses secrets that begin with this. */
const MARK = 'development-'
const SECRET_BYTES = 32
const OWNER_ONLY = 0o600
/** A development chain makes a block a second. */
const REPORTS_PER_MINUTE = 600_000

/** Paths of the files; their formats are those of src/keyvault. */
export type SecretFiles = {
  readonly jwt: string
  readonly keyRing: string
  readonly piiRing: string
  readonly orderId: string
  readonly sources: string
  readonly sourceSecret: string
  /** Rewritten while the watcher runs: tokens live for minutes. */
  readonly watcherToken: string
  readonly sealKey: string
  readonly sealPublicKeys: string
  readonly quoteKey: string
  readonly refundKey: string
  readonly refundPublicKeys: string
  readonly payLinks: string
  readonly quotePublicKeys: string
  /** Of the account that refunds are sent from; has money on the development chain alone. */
  readonly payoutKey: string
}

/** Makes the files that are missing in `dir`. @param source the watcher's name among the sources of reports */
export async function ensureSecrets(dir: string, source: string): Promise<SecretFiles> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const files: SecretFiles = {
    jwt: join(dir, 'jwt.json'),
    keyRing: join(dir, 'key-ring.json'),
    piiRing: join(dir, 'pii-ring.json'),
    orderId: join(dir, 'order-id'),
    sources: join(dir, 'sources.json'),
    sourceSecret: join(dir, 'source-secret'),
    watcherToken: join(dir, 'watcher-token'),
    sealKey: join(dir, 'seal-key.pem'),
    sealPublicKeys: join(dir, 'seal-public-keys.pem'),
    quoteKey: join(dir, 'quote-key.pem'),
    refundKey: join(dir, 'refund-key.pem'),
    refundPublicKeys: join(dir, 'refund-public-keys.pem'),
    payLinks: join(dir, 'pay-links'),
    quotePublicKeys: join(dir, 'quote-public-keys.pem'),
    payoutKey: join(dir, 'payout-key'),
  }
  await ensureFile(files.jwt, () => JSON.stringify({ keys: [{ kid: 'development', secret: secret() }] }))
  await ensureFile(files.keyRing, ring)
  await ensureFile(files.piiRing, ring)
  await ensureFile(files.orderId, secret)
  await ensureFile(files.payLinks, secret)
  const sourceSecret = await ensureFile(files.sourceSecret, secret)
  await ensureFile(files.sources, () =>
    JSON.stringify({
      sources: [{ name: source, algorithm: 'sha256', secrets: [sourceSecret], reports_per_minute: REPORTS_PER_MINUTE }],
    }),
  )
  await ensureFile(files.payoutKey, () => `0x${randomBytes(SECRET_BYTES).toString('hex')}`)
  await ensureKeyPair(files.sealKey, files.sealPublicKeys)
  await ensureKeyPair(files.quoteKey, files.quotePublicKeys)
  await ensureKeyPair(files.refundKey, files.refundPublicKeys)
  return files
}

/**
 * The passwords of database roles. Roles belong to a whole server, which several stacks may share: so each stack
 * derives the same passwords from the password in the server's URL. Without one there, they are random.
 */
export function passwordsOf<Role extends string>(
  serverUrl: string,
  roles: readonly Role[],
): Readonly<Record<Role, string>> {
  const key = new URL(serverUrl).password || randomBytes(SECRET_BYTES)
  const passwordOf = (role: Role) => createHmac('sha256', key).update(`holdfast role ${role}`).digest('base64url')
  return Object.fromEntries(roles.map((role) => [role, passwordOf(role)])) as Record<Role, string>
}

/** Replaces a file atomically: concurrent readers see the old text or the new one. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const draft = await writeDraft(path, text)
  await rename(draft, path)
}

const secret = (): string => Buffer.concat([Buffer.from(MARK), randomBytes(SECRET_BYTES)]).toString('base64')

/** The PKCS #8 header before the 32 bytes of an Ed25519 key. */
const ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

function signingKey(): string {
  const seed = Buffer.concat([Buffer.from(MARK), randomBytes(SECRET_BYTES)]).subarray(0, SECRET_BYTES)
  const key = createPrivateKey({ key: Buffer.concat([ED25519_PREFIX, seed]), format: 'der', type: 'pkcs8' })
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

async function ensureKeyPair(keyFile: string, publicKeysFile: string): Promise<void> {
  const key = await ensureFile(keyFile, signingKey)
  await ensureFile(publicKeysFile, () => createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string)
}

/** Two versions, which production requires too. */
const ring = (): string =>
  JSON.stringify({ primary: 2, versions: [1, 2].map((version) => ({ version, secret: secret() })) })

/** @returns the file's content, whether it existed or was made now */
async function ensureFile(path: string, make: () => string): Promise<string> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found !== undefined) return found
  const text = make()
  const draft = await writeDraft(path, text)
  // Linked, not renamed: an existing secret may have sealed something and is never replaced.
  try {
    await link(draft, path)
  } finally {
    await rm(draft)
  }
  return text
}

async function writeDraft(path: string, text: string): Promise<string> {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, text, { mode: OWNER_ONLY })
  return draft
}
