// docs/tokens.md: its programs print tokens that a production api accepts, and it explains every check of a token.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { TOKEN_CHECKS } from '../src/domain/token_check.ts'
import { createTokenVerifier, loadTokenSecrets } from '../src/keyvault/token.ts'
import { readSource, ROOT } from './support/source.ts'

const PROGRAM_WITHIN_MS = 100_000

const page = readSource('docs/tokens.md')
const exampleOf = (language: string): string =>
  new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1]?.trim() ?? ''

let folder: string

beforeAll(() => {
  // Below the root, so that the program in TypeScript finds jose.
  mkdirSync(join(ROOT, '.data'), { recursive: true })
  folder = mkdtempSync(join(ROOT, '.data/tokens-'))
  execFileSync(process.execPath, [join(ROOT, 'ops/make-secrets.mjs')], { cwd: folder })
  writeFileSync(join(folder, 'example.ts'), exampleOf('ts'))
  writeFileSync(join(folder, 'example.py'), exampleOf('python'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const [, ...signArguments] = exampleOf('sh').replace(/^npx /, '').split(' ')

test.each<[string, string, string[]]>([
  ['command', process.execPath, [join(ROOT, 'src/main/cli.ts'), ...signArguments]],
  ['program in TypeScript', process.execPath, ['example.ts']],
  ['program in Python', 'python3', ['example.py']],
])(
  'the %s of the page prints a token that a production api accepts',
  async (_what, program, args) => {
    const env = { PATH: process.env['PATH'] }
    const token = execFileSync(program, args, { cwd: folder, env, encoding: 'utf8' }).trim()
    const secrets = loadTokenSecrets(readFileSync(join(folder, 'secrets/jwt_secrets.json'), 'utf8'), 'production')
    const verify = createTokenVerifier({ secrets, issuer: 'holdfast', audience: 'holdfast' })
    await expect(verify(token)).resolves.toMatchObject({ userId: 7n, roles: ['customer'] })
  },
  PROGRAM_WITHIN_MS,
)

test('the page explains every check that a log line can name', () => {
  const [, table = ''] = page.split('## When a token is refused')
  expect(TOKEN_CHECKS.filter((check) => !table.includes(`\`${check}\``))).toEqual([])
})
