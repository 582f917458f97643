// Who is calling, as proven by a token. Roles are the token's words (requirements C-25).

export const ROLES = ['customer', 'fulfilment', 'admin', 'auditor', 'watcher', 'service'] as const
export type Role = (typeof ROLES)[number]

export type Principal = {
  /** People: a positive 64-bit integer; watcher and service: a name `[a-z0-9-]{1,63}`. */
  subject: string
  /** Set for people only. */
  userId: bigint | undefined
  roles: readonly Role[]
  tokenId: string
}

export const hasRole = (principal: Principal, role: Role): boolean => principal.roles.includes(role)

/** The actor string stored with effects: `user:7`, `watcher:eth-1`. */
export const actorOf = (principal: Principal): string =>
  principal.userId === undefined
    ? `${principal.roles[0] ?? 'service'}:${principal.subject}`
    : `user:${principal.userId}`
