// Generates docs/permissions.md from the permission table of src/grpc/permission.ts. `npm run docs` writes it;
// test/readme.test.ts compares.

import { ROLES } from '../../src/domain/access.ts'
import {
  ADMIN_SERVICES,
  PUBLIC_SERVICES,
  type Method,
  type MethodPath,
  type RpcService,
} from '../../src/grpc/method.ts'
import {
  ORDER_PARTS,
  PERMISSIONS,
  SHIPPING_STATUSES,
  type PermissionObject,
  type Reaches,
} from '../../src/grpc/permission.ts'

export const PERMISSIONS_PAGE = 'docs/permissions.md'

const OBJECT_WORDS: Readonly<Record<PermissionObject, string>> = {
  order: 'the order of `order_id`',
  orders: 'the orders of the list',
  customer: 'the customer of `user_id`',
  source: 'the reports of the source',
  shop: 'the shop itself',
}
const PART_WORDS: Readonly<Record<keyof typeof ORDER_PARTS, string>> = {
  shippingAddress: '`shipping_address`',
  payment: '`payment_request`, `received`, `payment_flags`',
  refundDestinations: 'whole addresses of refunds: a customer in `ListRefunds`, an admin in a dossier and on record',
}

const HEAD = `# Permissions

Generated from src/grpc/permission.ts: change that, then run \`npm run docs\`. The guard, the owner predicates in SQL and the tests read the same table.

A role reaches through an RPC:

- **any**: every object. Only these callers get NOT_FOUND for an object that does not exist.
- **own**: the objects that belong to the caller: a customer's orders, a watcher's reports.
- **shipping**: orders that are ${SHIPPING_STATUSES.join(' or ')}.
- **–**: nothing. The call is refused with PERMISSION_DENIED before its message is read.

For an object out of reach and for one that does not exist, callers with *own* or *shipping* get the same PERMISSION_DENIED. A caller without a valid token is UNAUTHENTICATED everywhere, except where *no token* is written. A token with several roles reaches what one of them reaches.
`

export const permissionsText = (): string =>
  [
    HEAD,
    '## Public port\n',
    ...tableOf(PUBLIC_SERVICES),
    '\n## Admin port\n',
    'Only callers whose address is in `HOLDFAST_ADMIN_CIDRS` are admitted. This is checked before the token.\n',
    ...tableOf(ADMIN_SERVICES),
    '\n## Parts of an order\n',
    'Fields of `Order` and of its dossier that not every role gets. Fields that are not listed are for each caller that reaches the order.\n',
    ...rowsOf(
      'fields',
      Object.entries(ORDER_PARTS).map(([part, roles]) => [PART_WORDS[part as keyof typeof ORDER_PARTS], roles]),
    ),
  ].join('\n') + '\n'

/** Without the package, except where two versions of a service are served. */
const shortNameOf = (path: string): string => path.replace(/^\/(?:grpc\.health\.v1|holdfast\.v1|grpc)\./, '')

function tableOf(services: Readonly<Record<string, RpcService>>): string[] {
  const rows = Object.values(services)
    .flatMap((service) => Object.values<Method>(service))
    .map(({ path }): [string, Reaches | string] => {
      const permission = PERMISSIONS[path as MethodPath]
      const name = `\`${shortNameOf(path)}\``
      return permission === 'anonymous'
        ? [`${name} | –`, 'no token']
        : [`${name} | ${OBJECT_WORDS[permission.object]}`, permission.roles]
    })
  return rowsOf('RPC | acts on', rows)
}

/** A Markdown table with one column per role. */
function rowsOf(head: string, rows: readonly (readonly [string, Reaches | string])[]): string[] {
  const columns = head.split('|').length + ROLES.length
  return [
    `| ${head} | ${ROLES.join(' | ')} |`,
    `|${' --- |'.repeat(columns)}`,
    ...rows.map(
      ([name, reaches]) =>
        `| ${name} | ${ROLES.map((role) => (typeof reaches === 'string' ? reaches : (reaches[role] ?? '–'))).join(' | ')} |`,
    ),
  ]
}
