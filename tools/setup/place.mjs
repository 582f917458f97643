// Paths of set-up, and the check for free disk space.

import { access, constants, mkdir, statfs } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupError } from './report.mjs'

const BYTES_PER_MIB = 1024 * 1024

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** This machine's platform, as part of a cached binary's name. */
export const PLATFORM = `${process.platform}-${process.arch}`

/** The cache of built servers, shared by all checkouts of a user. */
export const CACHE = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'holdfast')

/**
 * @param {string} dir created when missing
 * @param {number} neededMib
 * @param {{ purpose: string, remedy: string }} words what the space is for; what else would help
 * @throws {SetupError} when nothing can be written there or the disk is too full
 */
export async function requireRoom(dir, neededMib, { purpose, remedy }) {
  try {
    await mkdir(dir, { recursive: true })
    await access(dir, constants.W_OK)
  } catch (error) {
    throw new SetupError(
      `${dir} cannot be written (${/** @type {Error} */ (error).message}), and ${purpose} goes there.\n` +
        `Make it writable for this user, or ${remedy}.`,
    )
  }
  const { bavail, bsize } = await statfs(dir)
  const freeMib = Math.floor((bavail * bsize) / BYTES_PER_MIB)
  if (freeMib < neededMib) {
    throw new SetupError(
      `${purpose} needs about ${neededMib} MiB, and the disk of ${dir} has ${freeMib} MiB left.\n` +
        `Free some room, or ${remedy}.`,
    )
  }
}

/** @param {string} path @param {number} mode of `constants`, such as F_OK @returns {Promise<boolean>} */
export async function isAllowed(path, mode) {
  return access(path, mode).then(
    () => true,
    () => false,
  )
}
