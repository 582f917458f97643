// Tokens of a real OpenID Connect issuer, through its key set: see test/support/issuer.mjs.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import { decodeProtectedHeader } from 'jose'
import { ROOT } from '../../test/support/source.ts'
import { createIssuerKeys, createSetLoader, type IssuerAlgorithm } from './jwks.ts'
import { createTokenVerifier } from './token.ts'

const WITHIN_MS = 120_000
const COOLDOWN_MS = 30_000
const CLIENT_SECRET = 'a-secret-of-forty-characters-for-a-test!'

const running: ChildProcess[] = []
const stopAll = async (): Promise<void> => {
  for (const child of running.splice(0)) {
    child.kill('SIGKILL')
    await once(child, 'close')
  }
}
afterEach(stopAll, WITHIN_MS)

/** Starts an issuer; gives its URL once it listens. */
async function startIssuer(algorithm: IssuerAlgorithm, kid: string, port = '0'): Promise<string> {
  const child = spawn(process.execPath, [join(ROOT, 'test/support/issuer.mjs'), port, algorithm, kid, 'shop'], {
    env: { ...process.env, CLIENT_SECRET, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  running.push(child)
  for await (const line of createInterface(child.stdout)) if (line.startsWith('http://')) return line
  throw new Error('the issuer has ended')
}

async function getToken(issuer: string): Promise<string> {
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`watcher-1:${CLIENT_SECRET}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders' }),
  })
  const { access_token: token } = (await answer.json()) as { access_token?: string }
  return token ?? ''
}

function verifierOf(issuer: string, algorithm: IssuerAlgorithm, given: { issuer?: string; audience?: string } = {}) {
  const clock = { ms: 0 }
  const load = createSetLoader(`${issuer}/jwks`, 'development')
  const issuerKeys = createIssuerKeys({ algorithm, load, now: () => clock.ms })
  return {
    clock,
    verify: createTokenVerifier({ issuerKeys, issuer, audience: 'shop', elapsed: () => clock.ms, ...given }),
  }
}

describe.each(['EdDSA', 'RS256'] as const)('an OpenID Connect issuer that signs by %s', (algorithm) => {
  it(
    'gives tokens that are accepted, for this issuer, audience and algorithm alone',
    async () => {
      const issuer = await startIssuer(algorithm, 'key-1')
      const token = await getToken(issuer)
      expect(decodeProtectedHeader(token)).toEqual({ alg: algorithm, typ: 'at+jwt', kid: 'key-1' })
      const principal = { subject: 'watcher-1', userId: undefined, roles: ['watcher'] }
      await expect(verifierOf(issuer, algorithm).verify(token)).resolves.toMatchObject(principal)
      const refused = (check: string) => ({ reason: 'CREDENTIALS_INVALID', cause: { check } })
      const [other, foreign] = [{ audience: 'other' }, { issuer: `${issuer}/` }]
      await expect(verifierOf(issuer, algorithm, other).verify(token)).rejects.toMatchObject(refused('aud'))
      await expect(verifierOf(issuer, algorithm, foreign).verify(token)).rejects.toMatchObject(refused('iss'))
      const otherAlgorithm = algorithm === 'EdDSA' ? 'RS256' : 'EdDSA'
      await expect(verifierOf(issuer, otherAlgorithm).verify(token)).rejects.toMatchObject(refused('alg'))
    },
    WITHIN_MS,
  )

  it(
    'changes its key, and tokens of the new key are accepted within the pause between two reads',
    async () => {
      const issuer = await startIssuer(algorithm, 'key-1')
      const { clock, verify } = verifierOf(issuer, algorithm)
      const before = await getToken(issuer)
      await verify(before)
      await stopAll()
      expect(await startIssuer(algorithm, 'key-2', new URL(issuer).port)).toBe(issuer)
      clock.ms += COOLDOWN_MS
      const after = await getToken(issuer)
      await expect(verify(after)).resolves.toMatchObject({ subject: 'watcher-1' })
      // What the withdrawn key has signed is remembered for a minute at most.
      clock.ms += 2 * COOLDOWN_MS
      await expect(verify(before)).rejects.toMatchObject({ cause: { check: 'kid' } })
    },
    WITHIN_MS,
  )
})
