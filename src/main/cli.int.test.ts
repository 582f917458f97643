// The command line as a process: its exit codes, and what it writes where.

import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { startProcess } from '../../test/support/process.ts'

const CLI = fileURLToPath(new URL('./cli.ts', import.meta.url))
const NOWHERE = ['--ready-file', '/nowhere/ready.json']
const USAGE = 2

const run = (args: readonly string[]) => startProcess([CLI, ...args], { PATH: process.env['PATH'] }, 0).ended

test.each([
  ['an unknown option', ['order', 'list', '--token', 'eyJ.secret.token'], /unknown option '--token'/],
  ['a target that is neither order nor address', ['pay', 'lamp', '--api', '127.0.0.1:1', ...NOWHERE], /Not a UUID/],
  ['a password as an argument', ['verify', '--database', 'postgres://a:secret@db/x'], /DATABASE_PASSWORD_FILE/],
  ['a file that is not there', ['audit', 'check', '/nowhere'], /cannot be read/],
])('%s ends with 2, and says what is wrong', async (_what, args, message) => {
  const { code, output } = await run(args)
  expect(code).toBe(USAGE)
  expect(output).toMatch(message)
  expect(output).not.toContain('secret')
})

test('an error cannot steer the terminal either', async () => {
  const { code, output } = await run(['audit', 'check', '/nowhere/\u001b[31m\u202e'])
  expect(code).toBe(USAGE)
  expect(output).toBe('/nowhere/  cannot be read\n')
})
