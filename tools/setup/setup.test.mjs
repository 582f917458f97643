import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { goVersionOf, isAtLeast, versionOf } from './go.mjs'
import { isSameInstall } from './install.mjs'
import { isStale, withLock } from './lock.mjs'
import { clockOf } from './report.mjs'

/** No process has it: ids end far below. */
const DEAD_PID = 2 ** 30

const GO_MOD = `module example.local/tools

go 1.26.4

require (
	example.com/cli v1.8.2
	example.com/cli/ui/v2 v2.50.1
	example.com/h2 v2.2.1+incompatible
)
`

describe('the pins of a Go tools module', () => {
  test('a command has the version of the nearest module above it', () => {
    expect(versionOf(GO_MOD, 'example.com/cli/cmd/tool')).toBe('1.8.2')
    expect(versionOf(GO_MOD, 'example.com/cli/ui/v2/cmd/server')).toBe('2.50.1')
    expect(versionOf(GO_MOD, 'example.com/h2/cmd/h2')).toBe('2.2.1+incompatible')
    expect(() => versionOf(GO_MOD, 'example.com/other/cmd/tool')).toThrow('requires no module')
  })

  test('the oldest Go that will do is the one that go.mod names', () => {
    expect(goVersionOf(GO_MOD)).toBe('1.26.4')
  })

  test.each([
    ['1.26.4', true],
    ['1.26.10', true],
    ['1.27', true],
    ['2.0', true],
    ['1.26.3', false],
    ['1.26', false],
    ['1.26rc1', false],
    ['', false],
  ])('Go %s against 1.26.4: %s', (found, isEnough) => {
    expect(isAtLeast(found, '1.26.4')).toBe(isEnough)
  })
})

describe('whether the installed packages are current', () => {
  const wanted = {
    '': { version: '0.1.0' },
    'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/a-darwin': { version: '1.0.0', optional: true },
  }
  const installed = { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } }

  test('they are when npm recorded what the lock file wants, save for other platforms', () => {
    expect(isSameInstall(wanted, installed)).toBe(true)
  })

  test.each([
    ['a package is missing', {}],
    ['a version differs', { 'node_modules/a': { version: '1.0.1', integrity: 'sha512-a' } }],
    ['the content differs', { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-b' } }],
    ['there is one too many', { ...installed, 'node_modules/b': { version: '1.0.0' } }],
  ])('they are not when %s', (_, other) => {
    expect(isSameInstall(wanted, other)).toBe(false)
  })
})

describe('the lock between set-ups', () => {
  const here = { host: 'here', isAlive: (pid) => pid === 1 }

  test.each([
    ['a living holder keeps it', { host: 'here', pids: [1] }, 120_000, false],
    ['what a dead holder started and left behind keeps it', { host: 'here', pids: [2, 1] }, 120_000, false],
    ['a dead holder loses it at once', { host: 'here', pids: [2] }, 0, true],
    ['an id that another process must have by now does not keep it', { host: 'here', pids: [1] }, 3_600_000, true],
    ['elsewhere, a holder that touches it keeps it', { host: 'there', pids: [2] }, 6_000, false],
    ['elsewhere, a silent holder loses it', { host: 'there', pids: [1] }, 61_000, true],
  ])('%s', (_, holder, ageMs, expected) => {
    expect(isStale(holder, ageMs, here)).toBe(expected)
  })

  describe('on disk', () => {
    let dir
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'holdfast-lock-'))
    })
    afterEach(async () => rm(dir, { recursive: true }))

    test('it is taken from a dead holder by one of those that wait, and is gone afterwards', async () => {
      const path = join(dir, 'lock')
      await writeFile(path, JSON.stringify({ host: hostname(), pids: [DEAD_PID], token: 'dead' }))
      let holders = 0
      let most = 0
      const hold = async () => {
        holders += 1
        most = Math.max(most, holders)
        await new Promise((resolve) => setTimeout(resolve, 5))
        holders -= 1
      }
      await Promise.all([withLock(path, hold), withLock(path, hold), withLock(path, hold)])
      expect(most).toBe(1)
      await expect(readFile(path)).rejects.toThrow('ENOENT')
    })

    test('it names what its holder has started', async () => {
      const path = join(dir, 'lock')
      await withLock(path, async (addPid) => {
        await addPid(4_711)
        expect(JSON.parse(await readFile(path, 'utf8')).pids).toEqual([process.pid, 4_711])
      })
    })
  })
})

test('progress is told in minutes and seconds', () => {
  expect(clockOf(247_900)).toBe('4:07')
})
