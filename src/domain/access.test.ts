import { expect, test } from '@jest/globals'
import { actorOf, hasRole, hasSecondFactor, isSteppedUp, ROLES, type Principal } from './access.ts'

const buildPrincipal = (overrides: Partial<Principal> = {}): Principal => ({
  subject: '7',
  userId: 7n,
  roles: ['customer'],
  tokenId: 't-1',
  ...overrides,
})

test('a person acts under the id of the token, whatever its roles', () => {
  expect(actorOf(buildPrincipal({ roles: ['admin', 'customer'] }))).toBe('user:7')
  expect(actorOf(buildPrincipal({ userId: 2n ** 63n - 1n }))).toBe('user:9223372036854775807')
})

test('a machine acts under its role and its name', () => {
  const machine = { userId: undefined, subject: 'eth-1' }
  expect(actorOf(buildPrincipal({ ...machine, roles: ['watcher'] }))).toBe('watcher:eth-1')
  expect(actorOf(buildPrincipal({ ...machine, roles: [] }))).toBe('service:eth-1')
})

test('two principals never act under one name', () => {
  // A machine may be named like a user id; a person never has a role before the colon.
  const named = buildPrincipal({ userId: undefined, subject: '7', roles: ['service'] })
  expect(actorOf(named)).not.toBe(actorOf(buildPrincipal()))
})

test.each(ROLES)('%s is a role of those who hold it and of nobody else', (role) => {
  expect(hasRole(buildPrincipal({ roles: [role] }), role)).toBe(true)
  expect(hasRole(buildPrincipal({ roles: ROLES.filter((other) => other !== role) }), role)).toBe(false)
})

test.each<[string[] | undefined, boolean]>([
  [undefined, false],
  [[], false],
  [['pwd'], false],
  [['otp'], false],
  [['pwd', 'pin'], false],
  [['otp', 'sms'], false],
  [['pwd', 'unheard-of'], false],
  [['MFA'], false],
  [['pwd', 'otp'], true],
  [['pin', 'hwk'], true],
  [['fpt', 'swk'], true],
  [['mfa'], true],
  [['pwd', 'mfa'], true],
])('%j shows a second factor: %s', (amr, isShown) => {
  expect(hasSecondFactor(buildPrincipal(amr === undefined ? {} : { amr }))).toBe(isShown)
})

test('a sign-in with two factors counts for as long as it may, and without its time never', () => {
  const principal = buildPrincipal({ amr: ['pwd', 'otp'], authTimeS: 1_000 })
  expect(isSteppedUp(principal, 1_300_000, 300_000)).toBe(true)
  expect(isSteppedUp(principal, 1_300_001, 300_000)).toBe(false)
  expect(isSteppedUp(buildPrincipal({ amr: ['pwd', 'otp'] }), 0, 300_000)).toBe(false)
  expect(isSteppedUp({ ...principal, amr: ['pwd'] }, 1_300_000, 300_000)).toBe(false)
})
