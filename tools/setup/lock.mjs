// A lock file between concurrent set-ups. A killed holder leaves the npm or go that it had started, which must end
// before the next set-up begins: so the lock names both processes. On another machine (containers may share a cache)
// process ids mean nothing, and the file's age decides: a live holder keeps touching it.

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const TOUCH_INTERVAL_MS = 5_000
const RETRY_INTERVAL_MS = 500
/** Far above the touch interval, so that a machine under load does not lose a lock it holds. */
const STALE_AFTER_MS = 60_000
/** When a process with that id lives: longer than an orphan works, in case the id has been reused. */
const STALE_ALTHOUGH_ALIVE_AFTER_MS = 15 * 60_000

/**
 * @typedef {{ host: string, pids: number[], token: string }} Holder
 * `pids`: set-up and its children; `token`: unique to this acquisition of the lock
 */

/**
 * @param {Pick<Holder, 'host' | 'pids'>} holder
 * @param {number} ageMs since the file was last touched
 * @param {{ host: string, isAlive: (pid: number) => boolean }} here
 * @returns {boolean} whether the holder is gone, so that the lock may be taken over
 */
export function isStale(holder, ageMs, here) {
  if (holder.host !== here.host) return ageMs > STALE_AFTER_MS
  return !holder.pids.some(here.isAlive) || ageMs > STALE_ALTHOUGH_ALIVE_AFTER_MS
}

/**
 * Runs `work` under the lock, after waiting for a live holder to finish.
 * @template T
 * @param {string} path
 * @param {(addPid: (pid: number) => Promise<void>) => Promise<T>} work registers each child with `addPid`
 * @param {(pid: number) => void} [onWait] called once, with a process id of the holder
 * @returns {Promise<T>}
 */
export async function withLock(path, work, onWait) {
  /** @type {Holder} */
  const mine = { host: hostname(), pids: [process.pid], token: randomUUID() }
  await mkdir(dirname(path), { recursive: true })
  for (let waits = 0; !(await tryCreate(path, mine)); waits += 1) {
    const found = await readHolder(path)
    if (!found) continue
    if (isStale(found, found.ageMs, { host: hostname(), isAlive })) {
      await takeAway(path, found.token)
      continue
    }
    if (waits === 0) onWait?.(found.pids.findLast(isAlive) ?? found.pids[0])
    await sleep(RETRY_INTERVAL_MS)
  }
  const touch = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, TOUCH_INTERVAL_MS)
  try {
    return await work(async (pid) => {
      mine.pids.push(pid)
      await rename(await writeDraft(path, mine), path)
    })
  } finally {
    clearInterval(touch)
    if ((await readHolder(path))?.token === mine.token) await rm(path, { force: true })
  }
}

/** @param {string} path @param {Holder} mine @returns {Promise<boolean>} */
async function tryCreate(path, mine) {
  const draft = await writeDraft(path, mine)
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

/** Replaces the lock atomically. @param {string} path @param {Holder} holder */
async function writeDraft(path, holder) {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, JSON.stringify(holder))
  return draft
}

/** @param {string} path @returns {Promise<(Holder & { ageMs: number }) | undefined>} */
async function readHolder(path) {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)])
    return { ...JSON.parse(text), ageMs: Date.now() - mtimeMs }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Removes a dead holder's lock. @param {string} path @param {string} deadToken */
async function takeAway(path, deadToken) {
  // Two set-ups may have seen the same dead holder, and the slower would remove the faster one's new lock. So the file
  // is moved aside, read, and put back if it is not the dead holder's.
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if ((await readHolder(aside))?.token !== deadToken) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

/** @param {number} pid */
export function isAlive(pid) {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
  return !isZombie(pid)
}

/** Zombies: a container's first process often reaps no orphans, so a dead process keeps its id. @param {number} pid */
function isZombie(pid) {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error).code
}
