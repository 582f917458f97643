import type { PeerCertificate } from 'node:tls'
import { Metadata } from '@grpc/grpc-js'
import { describe, expect, test } from '@jest/globals'
import { ROLES, type Principal, type Role } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import type { Accounts } from './account.ts'
import type { Authentication } from './authenticate.ts'
import { admit } from './guard.ts'
import { METHODS, type MethodPath } from './method.ts'
import { PERMISSIONS } from './permission.ts'

const CREATE = '/holdfast.v1.OrderService/CreateOrder'
const CHECK = '/grpc.health.v1.Health/Check'

const buildPrincipal = (roles: readonly Role[], userId: bigint | undefined = 7n): Principal => ({
  subject: userId === undefined ? 'machine-1' : String(userId),
  userId,
  roles,
  tokenId: 'token-1',
})
const metadataOf = (...authorization: string[]): Metadata => {
  const metadata = new Metadata()
  for (const value of authorization) metadata.add('authorization', value)
  return metadata
}
const depsOf = (verifyToken: Authentication['verifyToken']): Authentication => ({
  verifyToken,
  accounts: { assertActive: async () => undefined, follow: () => () => undefined },
})
const reasonOf = (path: string, metadata: Metadata, verify = async () => buildPrincipal(['customer'])) =>
  admit(depsOf(verify), path, metadata).then(
    () => 'admitted',
    (error: unknown) => (error instanceof DomainError ? error.reason : 'another error'),
  )

/** For calls whose token nobody may look at. */
const verifyNothing = async (): Promise<Principal> => {
  throw new Error('must not be asked')
}

describe('a role', () => {
  const cells = METHODS.flatMap(({ path }) => ROLES.map((role) => [path, role] as const))
  test.each(cells)('%s is decided for %s', async (path, role) => {
    const permission = PERMISSIONS[path as MethodPath]
    const expected = permission === 'anonymous' || role in permission.roles ? 'admitted' : 'PERMISSION_DENIED'
    expect(await reasonOf(path, metadataOf('Bearer a.b.c'), async () => buildPrincipal([role]))).toBe(expected)
  })

  test('denies a method it does not know', async () => {
    expect(await reasonOf('/holdfast.v1.OrderService/DeleteEverything', metadataOf('Bearer a.b.c'))).toBe(
      'PERMISSION_DENIED',
    )
    expect(await reasonOf('__proto__', metadataOf('Bearer a.b.c'))).toBe('PERMISSION_DENIED')
  })
})

describe('the token', () => {
  test.each([
    ['none at all', metadataOf()],
    ['an empty value', metadataOf('')],
    ['another scheme', metadataOf('Basic dXNlcjpwYXNz')],
    ['a scheme without a token', metadataOf('Bearer ')],
    ['two values', metadataOf('Bearer a.b.c', 'Bearer a.b.c')],
    ['two tokens in one value', metadataOf('Bearer a.b.c, Bearer d.e.f')],
    ['more than 4 KiB', metadataOf(`Bearer ${'a'.repeat(4_097)}`)],
  ])('is refused with %s before anyone looks at it', async (_name, metadata) => {
    expect(await reasonOf(CREATE, metadata, verifyNothing)).toBe('CREDENTIALS_INVALID')
  })

  test('is passed on as it came, whatever the letter case of the scheme', async () => {
    const seen: string[] = []
    const verify = async (token: string): Promise<Principal> => {
      seen.push(token)
      return buildPrincipal(['customer'])
    }
    expect(await admit(depsOf(verify), CREATE, metadataOf('bearer a.B-_~c'))).toMatchObject({ userId: 7n })
    expect(seen).toEqual(['a.B-_~c'])
  })

  test('is not asked for by the health check', async () => {
    expect(await reasonOf(CHECK, metadataOf())).toBe('admitted')
  })
})

test.each([
  ['authorization', depsOf(verifyNothing), metadataOf()],
  [
    'certificate',
    {
      ...depsOf(async () => ({ subject: 'eth-1', userId: undefined, roles: ['watcher'], tokenId: 't' })),
      clientSans: new Map([['eth-1', 'spiffe://shop/eth-1']]),
    } satisfies Authentication,
    metadataOf('Bearer a.b.c'),
  ],
])('a refusal has the name of the check that failed: %s', async (check, deps, metadata) => {
  await expect(admit(deps, CREATE, metadata)).rejects.toMatchObject({ cause: { check } })
})

describe('a caller', () => {
  const machine: Principal = { subject: 'eth-1', userId: undefined, roles: ['watcher'], tokenId: 't' }
  const REPORT = '/holdfast.v1.PaymentService/ReportPayments'
  const reasonWith = (deps: Partial<Authentication>, path: string, uri?: string) =>
    admit(
      { ...depsOf(async () => machine), ...deps },
      path,
      metadataOf('Bearer a.b.c'),
      uri === undefined ? {} : { certificate: { subjectaltname: `URI:${uri}` } as PeerCertificate },
    ).then(
      () => 'admitted',
      ({ reason }: DomainError) => reason,
    )
  const clientSans = new Map([['eth-1', 'spiffe://shop/eth-1']])

  test('that is bound to a certificate must present it, and no other will do', async () => {
    expect(await reasonWith({ clientSans }, REPORT, 'spiffe://shop/eth-1')).toBe('admitted')
    expect(await reasonWith({ clientSans }, REPORT, 'spiffe://shop/eth-2')).toBe('CREDENTIALS_INVALID')
    expect(await reasonWith({ clientSans }, REPORT)).toBe('CREDENTIALS_INVALID')
    expect(await reasonWith({}, REPORT)).toBe('admitted')
  })

  test('whose account is not active learns nothing of its roles', async () => {
    const accounts: Accounts = {
      assertActive: async () => {
        throw new DomainError('CREDENTIALS_INVALID', 'The call carries no valid access token.')
      },
      follow: () => () => undefined,
    }
    expect(await reasonWith({ accounts }, CREATE)).toBe('CREDENTIALS_INVALID')
    expect(await reasonWith({}, CREATE)).toBe('PERMISSION_DENIED')
  })

  test('whose token is wrong causes no look at accounts', async () => {
    const accounts: Accounts = {
      assertActive: () => Promise.reject(new Error('must not be asked')),
      follow: () => () => undefined,
    }
    const verifyToken = () => Promise.reject(new DomainError('CREDENTIALS_INVALID', 'no'))
    expect(await reasonWith({ accounts, verifyToken }, CREATE)).toBe('CREDENTIALS_INVALID')
  })
})
