// The options of proto/ for other languages: a client in any of them is generated from the files as they are.

import { expect, test } from '@jest/globals'
import { findSources, readSource } from './support/source.ts'

const FILES = findSources('proto/holdfast/**/*.proto')

const optionOf = (file: string, name: string): string =>
  new RegExp(`^option ${name} = "?([^"]*)"?;$`, 'm').exec(readSource(file))?.[1] ?? ''

test.each([
  ['csharp_namespace', 'Holdfast.V1'],
  ['go_package', 'holdfast/v1;holdfastv1'],
  ['java_multiple_files', 'true'],
  ['java_package', 'holdfast.v1'],
  ['php_namespace', 'Holdfast\\\\V1'],
  ['ruby_package', 'Holdfast::V1'],
])('every file of ours sets %s', (name, value) => {
  expect(FILES.length).toBeGreaterThan(10)
  expect(FILES.filter((file) => optionOf(file, name) !== value)).toEqual([])
})

test('every file of ours has a Java class of its own, whose name no message has', () => {
  const classes = FILES.map((file) => optionOf(file, 'java_outer_classname'))
  expect(classes).not.toContain('')
  const types = FILES.flatMap((file) =>
    [...readSource(file).matchAll(/^(?:message|enum|service) (\w+)/gm)].map(([, type]) => type ?? ''),
  )
  const names = [...classes, ...types]
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([])
})
