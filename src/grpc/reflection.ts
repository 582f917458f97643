// gRPC server reflection, v1 and v1alpha: grpcurl and `buf curl` learn the API from the server. It answers with the
// untouched descriptors of proto/holdfast.binpb, each with all files it imports.

import { readFileSync } from 'node:fs'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { status } from '@grpc/grpc-js'
import { DomainError } from '../domain/failure.ts'
import type {
  ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionService,
} from './gen/grpc/reflection/v1/reflection.ts'
import type { Handlers } from './handle.ts'
import type { Method, RpcService } from './method.ts'

/** A client asks once for each import and type of a file: far fewer than this. */
const MAX_QUESTIONS = 1_000
const DESCRIPTORS = new URL('../../proto/holdfast.binpb', import.meta.url)

/** Field numbers of descriptor.proto, which is frozen. */
const FILE_SET = { file: 1 } as const
const FILE = { name: 1, package: 2, dependency: 3, message: 4, enum: 5, service: 6, extension: 7 } as const
const MESSAGE = { name: 1, field: 2, nested: 3, enum: 4, oneof: 8, extension: 6 } as const
const ENUM = { name: 1, value: 2 } as const
const SERVICE = { name: 1, method: 2 } as const
const NAMED = { name: 1 } as const

/** The length-delimited fields of one message, by number. */
type Fields = ReadonlyMap<number, readonly Uint8Array[]>

function fieldsOf(bytes: Uint8Array): Fields {
  const fields = new Map<number, Uint8Array[]>()
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag()
    if (wireType === WireType.LengthDelimited) fields.set(number, [...(fields.get(number) ?? []), reader.bytes()])
    else reader.skip(wireType, number)
  }
  return fields
}

const textOf = (fields: Fields, number: number): string => Buffer.from(fields.get(number)?.[0] ?? []).toString('utf8')
const partsOf = (fields: Fields, number: number): Fields[] => (fields.get(number) ?? []).map(fieldsOf)

/** The full names that a message declares: its own, and those of what it contains. */
function namesOfMessage(scope: string, message: Fields): string[] {
  const name = `${scope}${textOf(message, MESSAGE.name)}`
  const inside = [MESSAGE.field, MESSAGE.oneof, MESSAGE.extension].flatMap((number) =>
    partsOf(message, number).map((part) => `${name}.${textOf(part, NAMED.name)}`),
  )
  const nested = partsOf(message, MESSAGE.nested).flatMap((part) => namesOfMessage(`${name}.`, part))
  return [
    name,
    ...inside,
    ...nested,
    ...partsOf(message, MESSAGE.enum).flatMap((part) => namesOfEnum(`${name}.`, part)),
  ]
}

/** The values of an enum are siblings of the enum. */
const namesOfEnum = (scope: string, part: Fields): string[] => [
  `${scope}${textOf(part, ENUM.name)}`,
  ...partsOf(part, ENUM.value).map((value) => `${scope}${textOf(value, NAMED.name)}`),
]

function namesOfService(scope: string, service: Fields): string[] {
  const name = `${scope}${textOf(service, SERVICE.name)}`
  return [name, ...partsOf(service, SERVICE.method).map((method) => `${name}.${textOf(method, NAMED.name)}`)]
}

function namesOfFile(file: Fields): string[] {
  const packageName = textOf(file, FILE.package)
  const scope = packageName === '' ? '' : `${packageName}.`
  return [
    ...partsOf(file, FILE.message).flatMap((part) => namesOfMessage(scope, part)),
    ...partsOf(file, FILE.enum).flatMap((part) => namesOfEnum(scope, part)),
    ...partsOf(file, FILE.service).flatMap((part) => namesOfService(scope, part)),
    ...partsOf(file, FILE.extension).map((part) => `${scope}${textOf(part, NAMED.name)}`),
  ]
}

export type DescriptorIndex = {
  /** The file and all it imports, itself first; undefined if there is none of this name. */
  findFile: (name: string) => readonly Uint8Array[] | undefined
  /** The same for the file that declares a full name. */
  findSymbol: (name: string) => readonly Uint8Array[] | undefined
}

/** @param set a serialised FileDescriptorSet */
export function indexDescriptors(set: Uint8Array): DescriptorIndex {
  const files = new Map<string, { bytes: Uint8Array; imports: readonly string[] }>()
  const fileOfSymbol = new Map<string, string>()
  for (const bytes of fieldsOf(set).get(FILE_SET.file) ?? []) {
    const file = fieldsOf(bytes)
    const name = textOf(file, FILE.name)
    const imports = (file.get(FILE.dependency) ?? []).map((each) => Buffer.from(each).toString('utf8'))
    files.set(name, { bytes, imports })
    for (const symbol of namesOfFile(file)) fileOfSymbol.set(symbol, name)
  }
  const closureOf = (first: string): Uint8Array[] => {
    const names = new Set([first])
    // A set is also visited where it grows meanwhile.
    for (const name of names) for (const each of files.get(name)?.imports ?? []) names.add(each)
    return [...names].flatMap((name) => files.get(name)?.bytes ?? [])
  }
  const findFile = (name: string) => (files.has(name) ? closureOf(name) : undefined)
  return {
    findFile,
    findSymbol: (symbol) => findFile(fileOfSymbol.get(symbol) ?? ''),
  }
}

/** @param services those of the port */
export function createReflectionHandlers(
  services: Readonly<Record<string, RpcService>>,
): Handlers<typeof ServerReflectionService> {
  const index = indexDescriptors(readFileSync(DESCRIPTORS))
  const names = [
    ...new Set(
      Object.values(services).flatMap((each) => Object.values<Method>(each).map(({ path }) => path.split('/')[1])),
    ),
  ].flatMap((name) => (name === undefined ? [] : [{ name }]))

  return {
    serverReflectionInfo: async function* (requests) {
      let asked = 0
      for await (const request of requests) {
        asked += 1
        if (asked > MAX_QUESTIONS) throw new DomainError('MESSAGE_TOO_LARGE', 'Too many questions on one stream.')
        yield {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(index, names, request.messageRequest),
        }
      }
    },
  }
}

type Question = NonNullable<ServerReflectionRequest['messageRequest']>
type Answer = NonNullable<ServerReflectionResponse['messageResponse']>

function answer(index: DescriptorIndex, services: readonly { name: string }[], question: Question): Answer {
  switch (question.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: [...services] } }
    case 'fileByFilename':
      return filesOr404(index.findFile(question.value))
    case 'fileContainingSymbol':
      return filesOr404(index.findSymbol(question.value))
    case 'allExtensionNumbersOfType':
      // None of our files declares an extension.
      return index.findSymbol(question.value) === undefined
        ? NOT_FOUND
        : {
            $case: 'allExtensionNumbersResponse',
            value: { baseTypeName: question.value, extensionNumber: [] },
          }
    case 'fileContainingExtension':
      return NOT_FOUND
  }
}

const NOT_FOUND: Answer = {
  $case: 'errorResponse',
  value: { errorCode: status.NOT_FOUND, errorMessage: 'There is no such name here.' },
}

const filesOr404 = (files: readonly Uint8Array[] | undefined): Answer =>
  files === undefined
    ? NOT_FOUND
    : { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: files.map((bytes) => Buffer.from(bytes)) } }
