// A lock file between set-ups that run at once. Its holder may be killed at any moment, so it is
// recognised as dead by its process id on this machine, and by the age of the file anywhere else
// (a cache may be shared between containers): the holder touches the file while it lives.

import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const TOUCH_INTERVAL_MS = 5_000
const RETRY_INTERVAL_MS = 500
/** Far above the touch interval, so that a machine under load does not lose a lock it holds. */
const STALE_AFTER_MS = 60_000

/**
 * @param {{ pid: number, host: string }} holder
 * @param {number} ageMs since the file was last touched
 * @param {{ host: string, isAlive: (pid: number) => boolean }} here
 * @returns {boolean} the holder is gone and the lock may be taken from it
 */
export function isStale(holder, ageMs, here) {
  if (ageMs > STALE_AFTER_MS) return true
  return holder.host === here.host && !here.isAlive(holder.pid)
}

/**
 * Runs `work` as the only holder of the lock, waiting for a living holder to finish first.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @param {(pid: number) => void} [onWait] called once, with the holder's process id
 * @returns {Promise<T>}
 */
export async function withLock(path, work, onWait) {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), token: randomUUID() })
  await mkdir(dirname(path), { recursive: true })
  for (let waits = 0; !(await tryCreate(path, mine)); waits += 1) {
    const found = await readHolder(path)
    if (!found) continue
    if (isStale(found.holder, found.ageMs, { host: hostname(), isAlive })) {
      await takeAway(path, found.text)
      continue
    }
    if (waits === 0) onWait?.(found.holder.pid)
    await sleep(RETRY_INTERVAL_MS)
  }
  const touch = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, TOUCH_INTERVAL_MS)
  try {
    return await work()
  } finally {
    clearInterval(touch)
    if ((await readHolder(path))?.text === mine) await rm(path, { force: true })
  }
}

/** @param {string} path @param {string} text @returns {Promise<boolean>} */
async function tryCreate(path, text) {
  // Written aside and linked into place: another process never reads a half-written lock.
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, text)
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

/** @param {string} path */
async function readHolder(path) {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)])
    return { text, holder: JSON.parse(text), ageMs: Date.now() - mtimeMs }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Removes a dead holder's lock. @param {string} path @param {string} deadText */
async function takeAway(path, deadText) {
  // Two may have seen the same dead holder, and the slower one would remove the faster one's new
  // lock: so the file is moved aside first, looked at, and put back if it is not the dead one's.
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if ((await readFile(aside, 'utf8')) !== deadText) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error).code
}
