// Builds commands of a Go tools module into the per-user cache. A build is written beside its place and renamed into
// it, so that an incomplete binary is never found, however the build ends.

import { createHash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { readFile, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { collect } from './child.mjs'
import { withLock } from './lock.mjs'
import { CACHE, PLATFORM, ROOT, isAllowed, requireRoom } from './place.mjs'
import { SetupError, say, withProgress } from './report.mjs'

/** Binaries, Go's own build cache and the modules' sources, measured with a margin. */
const BUILD_ROOM_MIB = 5_000
const BUILDING = '.building-'
/** Import path of a command whose source is the module itself. */
const OWN_COMMAND = '.'

/**
 * @typedef {{ name: string, module: string, command: string, about: string }} GoTool
 * `module`: folder under tools/ with the go.mod that pins it; `command`: its import path, `.` for the module itself;
 * `about`: how long a first build takes, in words.
 */

/**
 * @param {string} goMod text of a go.mod
 * @param {string} command import path of a command
 * @returns {string} the version of the module the command belongs to, without its `v`
 */
export function versionOf(goMod, command) {
  const required = [...goMod.matchAll(/^(?:require)?\s+([\w./~-]+) v(\S+)/gm)]
  const owners = required.filter(([, path]) => command.startsWith(`${path}/`))
  const nearest = owners.toSorted(([, a], [, b]) => b.length - a.length)[0]
  if (!nearest) throw new Error(`go.mod requires no module that has ${command}`)
  return nearest[2]
}

/** @param {string} goMod @returns {string} the oldest Go that builds it, such as `1.26.4` */
export function goVersionOf(goMod) {
  const found = /^go (\S+)$/m.exec(goMod)
  if (!found) throw new Error('go.mod names no Go version')
  return found[1]
}

/** @param {string} version @param {string} minimum both dotted numbers @returns {boolean} */
export function isAtLeast(version, minimum) {
  const [have, need] = [version, minimum].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0))
  for (let i = 0; i < need.length; i += 1) {
    if ((have[i] ?? 0) !== need[i]) return (have[i] ?? 0) > need[i]
  }
  return true
}

/** @param {GoTool} tool @returns {Promise<string>} the path of its binary, built or not */
export async function cachedPathOf(tool) {
  const dir = join(ROOT, 'tools', tool.module)
  const read = (/** @type {string} */ name) => readFile(join(dir, name), 'utf8')
  const [goMod, goSum] = await Promise.all([read('go.mod'), read('go.sum')])
  const pins = createHash('sha256').update(goMod).update(goSum)
  if (tool.command === OWN_COMMAND) {
    const sources = (await readdir(dir)).filter((name) => name.endsWith('.go')).toSorted()
    for (const source of sources) pins.update(await read(source))
  }
  const version = tool.command === OWN_COMMAND ? 'own' : versionOf(goMod, tool.command)
  return join(CACHE, `${tool.name}-${version}-${PLATFORM}-${pins.digest('hex').slice(0, 12)}`)
}

/**
 * Builds the tool unless it is in the cache; at most one build of it runs per cache.
 * @param {GoTool} tool
 * @param {string} alternatives what the user can do when Go is missing
 * @returns {Promise<string>} the binary's path
 */
export async function build(tool, alternatives) {
  const target = await cachedPathOf(tool)
  await requireRoom(CACHE, BUILD_ROOM_MIB, {
    purpose: `building ${tool.name}`,
    remedy: 'point XDG_CACHE_HOME (and GOPATH, GOCACHE) at another disk',
  })
  await withLock(
    `${target}.lock`,
    async (onStart) => {
      if (await isAllowed(target, constants.X_OK)) return
      await removeLeftovers(target)
      const dir = join(ROOT, 'tools', tool.module)
      await requireGo(dir, alternatives)
      const draft = `${target}${BUILDING}${randomUUID()}`
      try {
        await compile(tool, dir, draft, onStart)
        await rename(draft, target)
      } finally {
        await rm(draft, { force: true })
      }
    },
    (pid) => say(`process ${pid} is building ${tool.name}; waiting for it`),
  )
  return target
}

/** Removes what a killed build left: under the lock no other build writes such a file. @param {string} target */
async function removeLeftovers(target) {
  const names = await readdir(CACHE)
  const left = names.filter((name) => name.startsWith(`${basename(target)}${BUILDING}`))
  await Promise.all(left.map((name) => rm(join(CACHE, name), { force: true })))
}

/** @param {string} dir @param {string} alternatives */
async function requireGo(dir, alternatives) {
  const needed = goVersionOf(await readFile(join(dir, 'go.mod'), 'utf8'))
  // Run in the module's folder, where Go 1.21 and newer fetch the toolchain that go.mod names.
  const { code, stdout, tail } = await collect('go', ['env', 'GOVERSION'], { cwd: dir })
  const found = stdout.trim().replace(/^go/, '')
  if (code === 0 && isAtLeast(found, needed)) return
  throw new SetupError(
    `Go ${needed} or newer is needed: ${code === 0 ? `this is Go ${found}` : tail}.\n${alternatives}`,
  )
}

/**
 * @param {GoTool} tool
 * @param {string} dir
 * @param {string} output
 * @param {(pid: number) => Promise<void>} onStart
 */
async function compile(tool, dir, output, onStart) {
  let fetched = 0
  let compiled = 0
  const args = ['build', '-v', '-mod=readonly', '-trimpath', '-ldflags=-s -w', '-o', output, tool.command]
  const { code, tail } = await withProgress(`building ${basename(output).split(BUILDING)[0]}, ${tool.about}`, (note) =>
    collect('go', args, {
      cwd: dir,
      onStart,
      onLine: (line) => {
        if (line.startsWith('go: downloading')) fetched += 1
        else compiled += 1
        note(`${fetched} modules fetched, ${compiled} packages compiled`)
      },
    }),
  )
  if (code !== 0) {
    throw new SetupError(
      `go build of ${tool.command} failed (exit ${code}):\n${tail}\n` +
        'Go keeps what was compiled: run the same command again to continue.',
    )
  }
}
