// Authentication of a call, cheapest check first: one bearer token in the metadata, its signature and claims, the client
// certificate it is bound to, the state of its account. The identity comes from these alone, never from other metadata.

import type { PeerCertificate } from 'node:tls'
import type { Metadata } from '@grpc/grpc-js'
import type { Principal } from '../domain/access.ts'
import { credentialsInvalid } from '../domain/token_check.ts'
import type { Accounts } from './account.ts'
import { hasBoundSan, type ClientSans } from './client_san.ts'

const MAX_AUTHORIZATION_BYTES = 4_096 + 'Bearer '.length
const BEARER = /^bearer ([A-Za-z0-9._~-]+)$/i

export type TokenVerifier = (token: string) => Promise<Principal>

export type Authentication = {
  verifyToken: TokenVerifier
  accounts: Accounts
  /** The certificate that each of these machines must present. Absent: none has to. */
  clientSans?: ClientSans
}

/**
 * Returns who calls. Throws CREDENTIALS_INVALID, with one text whatever is wrong; ISSUER_UNAVAILABLE or
 * DATABASE_UNAVAILABLE where that cannot be decided now.
 */
export async function authenticate(
  { verifyToken, accounts, clientSans }: Authentication,
  metadata: Metadata,
  certificate: PeerCertificate | undefined,
): Promise<Principal> {
  const principal = await verifyToken(tokenOf(metadata))
  if (!hasBoundSan(clientSans, principal, certificate)) throw credentialsInvalid('certificate')
  await accounts.assertActive(principal)
  return principal
}

/** The token of exactly one `authorization: Bearer …`. Throws CREDENTIALS_INVALID. */
function tokenOf(metadata: Metadata): string {
  const [value, ...others] = metadata.get('authorization')
  const token =
    others.length === 0 && typeof value === 'string' && value.length <= MAX_AUTHORIZATION_BYTES
      ? BEARER.exec(value)?.[1]
      : undefined
  if (token === undefined) throw credentialsInvalid('authorization')
  return token
}
