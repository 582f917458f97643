// Generates docs/api/: one page per service, one for all reasons of errors, and an index. `npm run docs` writes them;
// test/reference.test.ts compares. Texts are the comments of proto/; roles, limit classes and deadlines are read from
// the tables that the server uses.

import {
  ScalarType,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
} from '@bufbuild/protobuf'
import { DEFAULT_BUDGETS } from '../../src/domain/limit.ts'
import { DEFAULT_DEADLINE_MS, MAX_DEADLINE_MS, WATCH_MAX_MS } from '../../src/grpc/deadline.ts'
import { LIMIT_CLASS } from '../../src/grpc/limit_class.ts'
import { ADMIN_SERVICES, METHODS, PUBLIC_SERVICES, type MethodPath, type RpcService } from '../../src/grpc/method.ts'
import { PERMISSIONS } from '../../src/grpc/permission.ts'
import { findMessage, protoRegistry } from './descriptor.ts'
import { commentOf, detachedCommentsOf } from './proto_comment.ts'
import { REFERENCE_EXAMPLES } from './reference_example.ts'

export const REFERENCE_FOLDER = 'docs/api'
const PACKAGE = 'holdfast.v1'
const MS_PER_S = 1_000
const GENERATED =
  'Generated from proto/, the permission table and the limit classes: change those, then run `npm run docs`.'
/** Reasons that any call may fail with: what its comment does not repeat. */
const COMMON_REASONS = [
  ...['FIELD_INVALID', 'CREDENTIALS_INVALID', 'PERMISSION_DENIED', 'RATE_LIMITED', 'TOO_MANY_CALLS', 'OVERLOADED'],
  ...['MESSAGE_TOO_LARGE', 'DEADLINE_EXCEEDED', 'DATABASE_UNAVAILABLE', 'SHUTTING_DOWN', 'INTERNAL'],
]
const KEYED_REASONS = ['IDEMPOTENCY_KEY_REUSED', 'IDEMPOTENCY_KEY_IN_PROGRESS']

/** Fields of bytes that are a message of their own: what is signed is exactly these bytes. */
const MESSAGES_IN_BYTES = { 'ReportPaymentsRequest.report': `${PACKAGE}.PaymentReport` }

type Reason = { name: string; code: string; meaning: string; caller: string; example: string }

/** The pages by their paths. */
export function referencePages(): ReadonlyMap<string, string> {
  const services = servicesOf()
  const pages = new Map([
    [`${REFERENCE_FOLDER}/README.md`, indexText(services)],
    [`${REFERENCE_FOLDER}/errors.md`, errorsText()],
  ])
  for (const service of services) pages.set(`${REFERENCE_FOLDER}/${service.name}.md`, serviceText(service))
  return pages
}

/** The package's services in the order in which method.ts lists them. */
function servicesOf(): DescService[] {
  const names = new Set(METHODS.map(({ path }) => path.split('/')[1] ?? ''))
  return [...names]
    .filter((name) => name.startsWith(`${PACKAGE}.`))
    .map((name) => protoRegistry.getService(name))
    .filter((service) => service !== undefined)
}

const hasMethodsOf = (services: Readonly<Record<string, RpcService>>, { typeName }: DescService): boolean =>
  Object.values(services).some((service) => Object.values(service).some(({ path }) => path.startsWith(`/${typeName}/`)))

function portOf(service: DescService): string {
  if (hasMethodsOf(PUBLIC_SERVICES, service)) return 'the public port'
  return hasMethodsOf(ADMIN_SERVICES, service) ? 'the admin port' : 'no port'
}

/** Text of a comment as Markdown: what an HTML reader would take for a tag is escaped, except in code. */
const proseOf = (lines: readonly string[]): string =>
  lines
    .join('\n')
    .split('`')
    .map((part, at) => (at % 2 === 0 ? part.replaceAll('<', '&lt;') : part))
    .join('`')

/** The same in a cell of a table. */
const cellOf = (lines: readonly string[]): string => proseOf(lines).replaceAll('\n', ' ').replaceAll('|', '\\|')

function indexText(services: readonly DescService[]): string {
  const common = protoRegistry.getEnum(`${PACKAGE}.OrderStatus`)
  const [[, ...conventions] = []] = common === undefined ? [] : detachedCommentsOf(common)
  const rows = services.map((service) => {
    const about = commentOf(service).join(' ').split('. ')[0] ?? ''
    return `| [${service.name}](${service.name}.md) | ${portOf(service)} | ${cellOf([about.replace(/\.?$/, '.')])} |`
  })
  return [
    '# API reference\n',
    `${GENERATED}\n`,
    `Messages are shown as JSON, which grpcurl and other tools take: 64-bit numbers are strings, bytes are base64. Every reason of an error is on [one page](errors.md).\n`,
    '| service | served on | what it does |',
    '| --- | --- | --- |',
    ...rows,
    '\n## Conventions\n',
    // Each begins with a capitalised word and a colon, or goes on with the one before.
    ...conventionsOf(conventions),
    '',
  ].join('\n')
}

/** A list with one item per convention. */
function conventionsOf(lines: readonly string[]): string[] {
  const text = lines.filter((line) => line !== '')
  const items: string[][] = []
  for (const line of text)
    if (/^(?:[A-Z][a-z]+|Optional `\w+`): /.test(line) || items.length === 0) items.push([line])
    else items.at(-1)?.push(line)
  return items.map((item) => `- ${proseOf(item).replaceAll('\n', ' ')}`)
}

/** The reasons that are sent, from their comments. */
export function reasonsOf(): Reason[] {
  const reasons = protoRegistry.getEnum(`${PACKAGE}.ErrorReason`)?.values ?? []
  return reasons
    .filter(({ number }) => number !== 0)
    .map((value): Reason => {
      const lines = commentOf(value)
      const callerAt = lines.findIndex((line) => line.startsWith('Caller: '))
      const exampleAt = lines.findIndex((line) => line.startsWith('    '))
      const [, code = '', meaning = ''] = /^([A-Z_]+)\. ([^]*)$/.exec(lines.slice(0, callerAt).join('\n')) ?? []
      const caller = lines.slice(callerAt, exampleAt).join(' ').replace('Caller: ', '').trim()
      const example = lines
        .slice(exampleAt)
        .map((line) => line.slice(4))
        .join('\n')
        .trim()
      return { name: value.name.replace('ERROR_REASON_', ''), code, meaning, caller, example }
    })
}

function errorsText(): string {
  const about = protoRegistry.getEnum(`${PACKAGE}.ErrorReason`)
  const sections = reasonsOf().flatMap(({ name, code, meaning, caller, example }) => [
    `## ${name}\n`,
    `Status code **${code}**. ${proseOf([meaning])}\n`,
    `What the caller does: ${proseOf([caller])}\n`,
    `\`\`\`json\n${example}\n\`\`\`\n`,
  ])
  return [
    '# Errors\n',
    `${GENERATED}\n`,
    `${proseOf(about === undefined ? [] : commentOf(about))}\n`,
    ...sections,
  ].join('\n')
}

function serviceText(service: DescService): string {
  const [messages, enums] = typesOf(service)
  const types = [...messages.map(messageText), ...enums.map(enumText)]
  return [
    `# ${service.name}\n`,
    `${GENERATED}\n`,
    `${proseOf(commentOf(service))} Served on ${portOf(service)}. The [conventions](README.md) hold for all of its calls.\n`,
    ...service.methods.map((method) => `- [${method.name}](#${anchorOf(method.name)})`),
    '',
    ...service.methods.flatMap(methodText),
    ...(types.length > 0 ? ['# Types\n', ...types.flat()] : []),
  ].join('\n')
}

const anchorOf = (heading: string): string => heading.toLowerCase()
const reasonLink = (name: string): string => `[${name}](errors.md#${anchorOf(name)})`

function methodText(method: DescMethod): string[] {
  const path = `/${method.parent.typeName}/${method.name}` as keyof typeof REFERENCE_EXAMPLES
  const example = JSON.stringify(REFERENCE_EXAMPLES[path], undefined, 2)
  return [
    `## ${method.name}\n`,
    `${proseOf(commentOf(method))}\n`,
    '| | |',
    '| --- | --- |',
    `| path | \`${path}\` |`,
    `| answer | ${method.methodKind === 'server_streaming' ? 'a stream of' : 'one'} ${method.output.name} |`,
    `| roles | ${rolesText(path)} |`,
    `| repeating | ${repeatText(method)} |`,
    `| deadline | ${deadlineText(method)} |`,
    `| limit class | ${limitText(path)} |`,
    `| errors | ${errorsOf(method).map(reasonLink).join(', ')} |`,
    '',
    '### Request\n',
    ...fieldsText(method.input),
    '### Answer\n',
    ...fieldsText(method.output),
    '### Example\n',
    `\`\`\`json\n${example}\n\`\`\`\n`,
  ]
}

function rolesText(path: MethodPath): string {
  const permission = PERMISSIONS[path]
  if (permission === 'anonymous') return 'no token'
  const roles = Object.entries(permission.roles).map(([role, reach]) => (reach === 'any' ? role : `${role} (${reach})`))
  return `${roles.join(', ')}: see [permissions](../permissions.md)`
}

const isKeyed = ({ input }: DescMethod): boolean => input.fields.some(({ name }) => name === 'idempotency_key')

const repeatText = (method: DescMethod): string =>
  isKeyed(method)
    ? 'safe with the same `idempotency_key` and the same request: the answer is the stored one'
    : 'safe: a repeat changes nothing'

const deadlineText = ({ methodKind }: DescMethod): string =>
  methodKind === 'server_streaming'
    ? `the stream ends after ${WATCH_MAX_MS / MS_PER_S} s at most; open the next one`
    : `${DEFAULT_DEADLINE_MS / MS_PER_S} s unless the caller sets one, at most ${MAX_DEADLINE_MS / MS_PER_S} s`

function limitText(path: MethodPath): string {
  const name = LIMIT_CLASS[path]
  const { user, address, atOnce } = DEFAULT_BUDGETS[name]
  return `\`${name}\`: unless configured otherwise ${user} calls a minute per user, ${address} per address, ${atOnce} at once`
}

/** Those that the comment names, then those of every call. */
function errorsOf(method: DescMethod): string[] {
  const words = new Set(
    commentOf(method)
      .join(' ')
      .match(/\b[A-Z]+(?:_[A-Z]+)*\b/g),
  )
  const own = reasonsOf()
    .map(({ name }) => name)
    .filter((name) => words.has(name))
  return [...new Set([...own, ...(isKeyed(method) ? KEYED_REASONS : []), ...COMMON_REASONS])]
}

function fieldsText(message: DescMessage): string[] {
  const about = proseOf(commentOf(message))
  const intro = about === '' ? [] : [`${about}\n`]
  if (message.fields.length === 0) return [...intro, 'No fields.\n']
  const rows = message.fields.map((field) => {
    const oneof = field.oneof === undefined ? '' : ` One of \`${field.oneof.name}\`: ${cellOf(commentOf(field.oneof))}`
    return `| \`${field.name}\` | ${typeText(field)} | ${cellOf(meaningOf(field.name, commentOf(field)))}${oneof} |`
  })
  return [...intro, '| field | type | meaning |', '| --- | --- | --- |', ...rows, '']
}

/** «total is the sum»: the cell beside has the name already. */
const meaningOf = (name: string, [first = '', ...rest]: readonly string[]): string[] => [
  first.replace(new RegExp(`^${name}(?: (?:is|are)|:) `), ''),
  ...rest,
]

function typeText(field: DescField): string {
  const isOptional = field.proto.proto3Optional
  const one = oneTypeText(field)
  if (field.fieldKind === 'list') return `list of ${one}`
  return isOptional ? `${one}, optional` : one
}

function oneTypeText(field: DescField): string {
  const named = field.message ?? field.enum
  if (named !== undefined) return isOurs(named) ? `[${named.name}](#${anchorOf(named.name)})` : named.name
  if (field.fieldKind === 'map') return 'map'
  return field.scalar === undefined ? '' : (ScalarType[field.scalar]?.toLowerCase() ?? '')
}

const isOurs = ({ typeName }: DescMessage | DescEnum): boolean => typeName.startsWith(`${PACKAGE}.`)

const messageText = (message: DescMessage): string[] => [`## ${message.name}\n`, ...fieldsText(message)]

function enumText(one: DescEnum): string[] {
  const rows = one.values.map(
    (value) => `| \`${value.name}\` | ${value.number} | ${cellOf(meaningOf(value.name, commentOf(value)))} |`,
  )
  const head = [
    `## ${one.name}\n`,
    `${proseOf(commentOf(one))}\n`,
    '| value | number | meaning |',
    '| --- | --- | --- |',
  ]
  return [...head, ...rows, '']
}

/** The package's types below the requests and answers of a service, each once, in the order of their first use. */
function typesOf(service: DescService): [DescMessage[], DescEnum[]] {
  const roots = new Set(service.methods.flatMap(({ input, output }) => [input, output]))
  const messages = new Set<DescMessage>()
  const enums = new Set<DescEnum>()
  const visit = (message: DescMessage): void => {
    for (const field of message.fields) {
      if (field.enum !== undefined && isOurs(field.enum)) enums.add(field.enum)
      if (field.message === undefined || !isOurs(field.message) || messages.has(field.message)) continue
      messages.add(field.message)
      visit(field.message)
    }
  }
  for (const root of roots) visit(root)
  for (const [field, name] of Object.entries(MESSAGES_IN_BYTES))
    if ([...roots].some((root) => root.fields.some((each) => `${root.name}.${each.name}` === field))) {
      messages.add(findMessage(name))
      visit(findMessage(name))
    }
  return [[...messages].filter((message) => !roots.has(message)), [...enums]]
}
