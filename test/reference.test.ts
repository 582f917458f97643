// docs/api/ against proto/ and the code: current, complete, and with examples that the server would take.

import { fromJson, toBinary } from '@bufbuild/protobuf'
import { expect, test } from '@jest/globals'
import { METHODS, type MethodPath } from '../src/grpc/method.ts'
import { SCHEMAS } from '../src/grpc/schema.ts'
import { parseMessage } from '../src/grpc/validate.ts'
import { requestOf } from './support/descriptor.ts'
import { REFERENCE_FOLDER, reasonsOf, referencePages } from './support/reference.ts'
import { REFERENCE_EXAMPLES } from './support/reference_example.ts'
import { findSources, readSource } from './support/source.ts'

const PAGES = referencePages()
const EXAMPLES = Object.entries(REFERENCE_EXAMPLES)

test('docs/api holds the pages that `npm run docs` writes, and no other', () => {
  expect(findSources(`${REFERENCE_FOLDER}/**`).filter((path) => path.endsWith('.md'))).toEqual(
    [...PAGES.keys()].toSorted(),
  )
  for (const [page, text] of PAGES) expect(readSource(page)).toBe(text)
})

test.each(EXAMPLES)('the example of %s is a request that the server takes', (path, json) => {
  const request = requestOf(path)
  const bytes = Buffer.from(toBinary(request, fromJson(request, json)))
  const message = METHODS.find((method) => method.path === path)?.requestDeserialize(bytes)
  expect(() => parseMessage(SCHEMAS[path as MethodPath], message)).not.toThrow()
})

test('an example of a call with a key gives one, and none has a field that the proto does not know', () => {
  for (const [path, json] of EXAMPLES) {
    const request = requestOf(path)
    expect(() => fromJson(request, json, { ignoreUnknownFields: false })).not.toThrow()
    expect([path, 'idempotency_key' in json]).toEqual([
      path,
      request.fields.some(({ name }) => name === 'idempotency_key'),
    ])
  }
})

test('every reason has a code, a meaning, what the caller does and an example in JSON', () => {
  const reasons = reasonsOf()
  expect(reasons.length).toBeGreaterThan(30)
  for (const reason of reasons) {
    expect(Object.entries(reason).filter(([, text]) => text === '')).toEqual([])
    expect(() => JSON.parse(reason.example) as unknown).not.toThrow()
  }
})

test('every RPC, field and value has a text', () => {
  const empty = [...PAGES].flatMap(([page, text]) =>
    text
      .split('\n')
      .filter((line) => /^\| `\w+` \| [^|]* \|\s*\|$/.test(line))
      .map((line) => `${page}: ${line}`),
  )
  expect(empty).toEqual([])
})

test('every link inside a page leads to a heading of it', () => {
  const headings = (page: string): string[] =>
    [...(PAGES.get(page) ?? '').matchAll(/^#+ (\w+)$/gm)].map(([, heading = '']) => heading.toLowerCase())
  for (const [page, text] of PAGES) {
    const known = { '': headings(page), 'errors.md': headings(`${REFERENCE_FOLDER}/errors.md`) }
    const links = [...text.matchAll(/\]\((|errors\.md)#([^)]+)\)/g)]
    const broken = links.filter(([, file, anchor = '']) => !known[file === 'errors.md' ? file : ''].includes(anchor))
    expect([page, broken.map(([link]) => link)]).toEqual([page, []])
  }
})
