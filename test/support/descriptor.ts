// The requests of proto/ as their descriptors describe them, in the shape that ts-proto decodes: every field at any
// depth, with a way to put a value there. For tests that must not forget a field.

import { readFileSync } from 'node:fs'
import { createFileRegistry, fromBinary, ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'

const PROTOSET = new URL('../../proto/holdfast.binpb', import.meta.url)
export const protoRegistry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(PROTOSET)))
const TIMESTAMP = 'google.protobuf.Timestamp'

export function findMessage(name: string): DescMessage {
  const message = protoRegistry.getMessage(name)
  if (message === undefined) throw new Error(`no message ${name} in proto/`)
  return message
}

/** The request of a method, such as `/holdfast.v1.OrderService/GetOrder`. */
export function requestOf(path: string): DescMessage {
  const [, service = '', name] = path.split('/')
  const method = protoRegistry.getService(service)?.methods.find((each) => each.name === name)
  if (method === undefined) throw new Error(`no method ${path} in proto/`)
  return method.input
}

export type Kind = 'string' | 'int32' | 'int64' | 'bool' | 'bytes' | 'enum' | 'timestamp' | 'list' | 'oneof' | 'message'

/** One field of a request, of a message in it, or a oneof. */
export type Place = {
  /** As violations name it: `lines[0].product_id`; the oneof's name for its members. */
  path: string
  /** The last part of the path, without an index. */
  name: string
  kind: Kind
  /** Field numbers from the request to it. */
  numbers: readonly number[]
  /** The request with this value there. */
  put: (value: unknown) => Message
}
export type Message = Record<string, unknown>

/** A valid value for a field, by its proto name. */
export type SampleOf = (name: string) => unknown

/** A message with every field set; of a oneof, its last member. */
export function fullOf(message: DescMessage, sampleOf: SampleOf): Message {
  return Object.assign({}, ...message.fields.map((field) => entryOf(field, valueOf(field, sampleOf)))) as Message
}

const entryOf = (field: DescField, value: unknown): Message =>
  field.oneof === undefined
    ? { [field.localName]: value }
    : { [field.oneof.localName]: { $case: field.localName, value } }

function valueOf(field: DescField, sampleOf: SampleOf): unknown {
  const one =
    field.message !== undefined && field.message.typeName !== TIMESTAMP
      ? fullOf(field.message, sampleOf)
      : sampleOf(field.name)
  return field.fieldKind === 'list' ? [one] : one
}

function elementKindOf(field: DescField): Kind {
  if (field.message !== undefined) return field.message.typeName === TIMESTAMP ? 'timestamp' : 'message'
  if (field.enum !== undefined) return 'enum'
  switch (field.scalar) {
    case ScalarType.STRING:
      return 'string'
    case ScalarType.BOOL:
      return 'bool'
    case ScalarType.BYTES:
      return 'bytes'
    case ScalarType.INT32:
      return 'int32'
    case ScalarType.INT64:
      return 'int64'
    default:
      throw new Error(`${field.parent.typeName}.${field.name}: no test knows values of this type`)
  }
}

/** Every field of a message and of the messages in it. */
export function placesOf(message: DescMessage, sampleOf: SampleOf): Place[] {
  return placesIn(message, sampleOf, '', [], (inner) => inner)
}

function placesIn(
  message: DescMessage,
  sampleOf: SampleOf,
  prefix: string,
  above: readonly number[],
  wrap: (inner: Message) => Message,
): Place[] {
  const full = fullOf(message, sampleOf)
  const oneofs = message.oneofs.map((oneof) => ({
    path: `${prefix}${oneof.name}`,
    name: oneof.name,
    kind: 'oneof' as const,
    numbers: above,
    put: (value: unknown) => wrap({ ...full, [oneof.localName]: value }),
  }))
  const fields = message.fields.flatMap((field): Place[] => {
    const isList = field.fieldKind === 'list'
    const numbers = [...above, field.number]
    const path = `${prefix}${field.oneof?.name ?? field.name}`
    const put = (value: unknown): Message => wrap({ ...full, ...entryOf(field, value) })
    const putOne = (value: unknown): Message => put(isList ? [value] : value)
    const onePath = isList ? `${path}[0]` : path
    const kind = elementKindOf(field)
    const inside =
      field.message !== undefined && kind === 'message'
        ? placesIn(field.message, sampleOf, `${onePath}.`, numbers, putOne)
        : [{ path: onePath, name: field.name, kind, numbers, put: putOne }]
    return isList ? [{ path, name: field.name, kind: 'list', numbers, put }, ...inside] : inside
  })
  return [...oneofs, ...fields]
}
