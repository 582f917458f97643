#!/usr/bin/env node
// Creates the secrets that docker-compose.yml mounts, one file each under secrets/. Existing files are kept. `node
// ops/make-secrets.mjs [FOLDER]`

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const SECRET_BYTES = 32
/** The folder is closed to others; its files are readable, since containers read them as their own users. */
const FOLDER_MODE = 0o700
const SHARED_MODE = 0o755
const FILE_MODE = 0o444
/** About as many payments; the default, ten, is what an outage of an hour makes a small shop wait for. */
const REPORTS_PER_MINUTE = 120

const folder = process.argv[2] ?? 'secrets'
const secret = () => randomBytes(SECRET_BYTES).toString('base64')
const password = () => randomBytes(SECRET_BYTES).toString('hex')
const keyring = () => ({ primary: 2, versions: [1, 2].map((version) => ({ version, secret: secret() })) })

const sourceSecret = secret()
const FILES = {
  postgres_password: password(),
  migrator_password: password(),
  temporal_password: password(),
  app_api_password: password(),
  app_worker_password: password(),
  app_keys_password: password(),
  watcher_password: password(),
  audit_sealer_password: password(),
  auditor_password: password(),
  order_id_secret: secret(),
  pay_link_secrets: secret(),
  'jwt_secrets.json': { keys: [{ kid: '1', secret: secret() }] },
  'pii_keyring.json': keyring(),
  'key_keyring.json': keyring(),
}
const signingPair = () =>
  generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
const seal = signingPair()
const quote = signingPair()
const refund = signingPair()
/** Both halves of a key pair are created together or not at all. */
const PAIRS = [
  {
    source_secret: sourceSecret,
    'sources.json': {
      sources: [
        { name: 'watcher-1', algorithm: 'sha256', secrets: [sourceSecret], reports_per_minute: REPORTS_PER_MINUTE },
      ],
    },
  },
  { 'quote_key.pem': quote.privateKey.trim(), 'quote_public_keys.pem': quote.publicKey.trim() },
  { 'refund_key.pem': refund.privateKey.trim(), 'refund_public_keys.pem': refund.publicKey.trim() },
  { 'seal_key.pem': seal.privateKey.trim(), 'seal_public_keys.pem': seal.publicKey.trim() },
]

const write = (name, value) =>
  writeFileSync(join(folder, name), `${typeof value === 'string' ? value : JSON.stringify(value)}\n`, {
    mode: FILE_MODE,
    flag: 'wx',
  })
const isMissing = (name) => !existsSync(join(folder, name))

mkdirSync(folder, { recursive: true, mode: FOLDER_MODE })
mkdirSync(join(folder, 'watcher_token'), { recursive: true, mode: SHARED_MODE })
for (const [name, value] of Object.entries(FILES)) if (isMissing(name)) write(name, value)
for (const pair of PAIRS.filter((files) => Object.keys(files).every(isMissing))) {
  for (const [name, value] of Object.entries(pair)) write(name, value)
}
console.log(
  `${folder}: ready. Have the issuer of your access tokens keep one for role watcher, subject watcher-1, in ` +
    `${folder}/watcher_token/token.`,
)
