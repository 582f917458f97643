// Capability links of the payment page: the order's id and an expiry, with an HMAC over both. A link grants one thing,
// to see what an order asks for and what was paid. Nothing is stored for it: it is computed from the order.

import { createHmac, timingSafeEqual } from 'node:crypto'
import { expandKey } from './derive.ts'
import { contextOf } from './seal.ts'
import { parseSecret, SecretError, type RunMode } from './secret.ts'

const PURPOSE = Buffer.from('holdfast pay link 1')
const NO_SALT = Buffer.alloc(0)
const ID_BYTES = 16
const EXPIRY_BYTES = 4
/** 128 bits cannot be guessed. */
const TAG_BYTES = 16
const TOKEN_PATTERN = /^[\w-]{48}$/
const MAX_SECRETS = 4
const MS_PER_S = 1_000
/** From the order on. Longer than any window, so that late money and its refund are still seen. */
export const PAY_LINK_LIFE_MS = 30 * 86_400_000

/** Reads one base64 secret per line, one to four, the newest first. Throws SecretError. */
export function loadPayLinkSecrets(name: string, text: string, mode: RunMode): readonly Buffer[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (lines.length < 1 || lines.length > MAX_SECRETS)
    throw new SecretError(`${name}: one to ${MAX_SECRETS} secrets are needed, one per line`)
  return lines.map((line, at) => parseSecret(`${name}, line ${at + 1}`, line, mode))
}

export type PayLinks = {
  /** The token of an order's link, base64url. It is the same each time, until the newest secret changes. */
  tokenOf: (order: { orderId: string; createdAt: Date }) => string
  /** The order's id; undefined for a token that was altered, invented or has expired. */
  open: (token: string, now: Date) => string | undefined
}

/** The first secret makes links; all of them open links, so that a secret may be replaced without breaking any. */
export function createPayLinks([newest, ...older]: readonly Buffer[]): PayLinks {
  if (newest === undefined) throw new SecretError('pay links need a secret')
  const keys = [newest, ...older].map((secret) => expandKey(secret, NO_SALT, PURPOSE))
  const [signing = Buffer.alloc(0)] = keys
  return {
    tokenOf: ({ orderId, createdAt }) => sign(signing, bodyOf(orderId, createdAt)),
    open: (token, now) => {
      if (!TOKEN_PATTERN.test(token)) return undefined
      const body = Buffer.from(token, 'base64url').subarray(0, ID_BYTES + EXPIRY_BYTES)
      // Each key is tried, so that the time says nothing about which one fits.
      const fits = keys.map((key) => isSame(token, sign(key, body)))
      const endsAtMs = body.readUInt32BE(ID_BYTES) * MS_PER_S
      return fits.includes(true) && now.getTime() < endsAtMs ? uuidOf(body.subarray(0, ID_BYTES)) : undefined
    },
  }
}

function bodyOf(orderId: string, createdAt: Date): Buffer {
  const body = Buffer.alloc(ID_BYTES + EXPIRY_BYTES)
  body.write(orderId.replaceAll('-', ''), 'hex')
  body.writeUInt32BE(Math.floor((createdAt.getTime() + PAY_LINK_LIFE_MS) / MS_PER_S), ID_BYTES)
  return body
}

function sign(key: Buffer, body: Buffer): string {
  const mac = createHmac('sha256', key)
    .update(contextOf([body.toString('hex')]))
    .digest()
  return Buffer.concat([body, mac.subarray(0, TAG_BYTES)]).toString('base64url')
}

/** Of two texts of one length. */
const isSame = (one: string, other: string): boolean => timingSafeEqual(Buffer.from(one), Buffer.from(other))

const uuidOf = (bytes: Buffer): string =>
  bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
