// Installs the npm packages. They are current when npm's record of node_modules equals package-lock.json. npm writes
// that record last, so an interrupted install is noticed, and after a manual `npm install` nothing is installed again.

import { constants } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { collect } from './child.mjs'
import { withLock } from './lock.mjs'
import { ROOT, isAllowed, requireRoom } from './place.mjs'
import { SetupError, say, withProgress } from './report.mjs'

/** The packages take 0.9 GiB, and npm's cache up to as much again. */
const INSTALL_ROOM_MIB = 2_000

/** The Node that runs everything after set-up, independent of the machine's Node. */
export const PINNED_NODE = join(ROOT, 'node_modules', 'node', 'bin', 'node')

/**
 * @typedef {Record<string, { version?: string, integrity?: string, optional?: boolean, devOptional?: boolean }>}
 * Packages
 */

/**
 * @param {Packages} wanted of package-lock.json
 * @param {Packages} installed of npm's record in node_modules
 * @returns {boolean} whether exactly the wanted packages are installed, in the wanted versions
 */
export function isSameInstall(wanted, installed) {
  const isSame = ([path, found]) =>
    found.version === wanted[path]?.version && found.integrity === wanted[path]?.integrity
  // Optional packages are for one platform each: those for other platforms are wanted but never installed.
  const isThere = ([path, entry]) => path === '' || entry.optional || entry.devOptional || path in installed
  return Object.entries(installed).every(isSame) && Object.entries(wanted).every(isThere)
}

/** Installs the npm packages and the pinned Node unless both are current. */
export async function ensureInstalled() {
  if ((await arePackagesCurrent()) && (await hasPinnedNode())) return
  await requireRoom(ROOT, INSTALL_ROOM_MIB, {
    purpose: 'installing the npm packages',
    remedy: 'clone the repository to another place',
  })
  await withLock(join(ROOT, '.data', 'install.lock'), install, (pid) =>
    say(`process ${pid} is installing the npm packages; waiting for it`),
  )
}

/** @param {(pid: number) => Promise<void>} onStart */
async function install(onStart) {
  if (!(await arePackagesCurrent())) {
    // Install scripts stay off. Development packages are needed here, even if the user's npm settings omit them.
    await npm('installing the npm packages', ['ci', '--ignore-scripts', '--include=dev', '--include=optional'], onStart)
  }
  if (!(await hasPinnedNode())) await npm('installing the pinned Node', ['rebuild', 'node'], onStart)
  if ((await arePackagesCurrent()) && (await hasPinnedNode())) return
  throw new SetupError(
    'npm succeeded, but node_modules does not match package-lock.json: remove node_modules and try again',
  )
}

/** The package's script links the binary into place atomically. */
async function hasPinnedNode() {
  return isAllowed(PINNED_NODE, constants.X_OK)
}

async function arePackagesCurrent() {
  const [wanted, installed] = await Promise.all(
    ['package-lock.json', 'node_modules/.package-lock.json'].map((path) =>
      readFile(join(ROOT, path), 'utf8').catch(() => ''),
    ),
  )
  if (!wanted || !installed) return false
  return isSameInstall(JSON.parse(wanted).packages, JSON.parse(installed).packages)
}

/** @param {string} label @param {string[]} args @param {(pid: number) => Promise<void>} onStart */
async function npm(label, args, onStart) {
  // An explicit log level: under `npm run --silent`, npm would hide even its errors.
  const run = () => collect('npm', [...args, '--loglevel=error'], { cwd: ROOT, onStart })
  const { code, tail } = await withProgress(label, run)
  if (code !== 0) {
    throw new SetupError(
      `npm ${args.join(' ')} failed (exit ${code}):\n${tail}\n` +
        'If this was a network failure, run the same command again: it starts from the beginning.',
    )
  }
}
