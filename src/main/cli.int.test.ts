// The command line as a process: its exit codes, and what it writes where.

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { makeCertificate } from '../../test/support/certificate.ts'
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

test('a plain server behind a TLS address is told as such, without the warnings of Node', async () => {
  const server = createServer((socket) => socket.end('HTTP/1.1 400\r\n\r\n')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
  const file = join(folder, 'ca.pem')
  await writeFile(file, makeCertificate().cert)
  const env = { PATH: process.env['PATH'], HOLDFAST_API_CA_FILE: file, HOLDFAST_TOKEN: 't' }
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const { code, output } = await startProcess([CLI, 'order', 'list', '--api', address], env, 0).ended
  server.close()
  await rm(folder, { recursive: true })
  expect(code).toBe(5)
  expect(output).toContain(
    'Does the server speak TLS, with a certificate for this address from the CA in HOLDFAST_API_CA_FILE?',
  )
  expect(output).not.toMatch(/Warning|npm start/)
})

test('an error cannot steer the terminal either', async () => {
  const { code, output } = await run(['audit', 'check', '/nowhere/\u001b[31m\u202e'])
  expect(code).toBe(USAGE)
  expect(output).toBe('/nowhere/  cannot be read\n')
})
