// The two files of the payment page, named by their content, so that browsers may keep them forever.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { PageAssets } from './pay_page.ts'

const HASH_DIGITS = 16

export type StaticFile = { type: string; body: string }

/** Reads the files. @returns the names that pages use, and the files by name */
export function readStaticFiles(): { assets: PageAssets; files: ReadonlyMap<string, StaticFile> } {
  const files = new Map<string, StaticFile>()
  const add = (extension: string, type: string): string => {
    const body = readFileSync(new URL(`./static/pay.${extension}`, import.meta.url), 'utf8')
    const hash = createHash('sha256').update(body).digest('hex').slice(0, HASH_DIGITS)
    const name = `pay.${hash}.${extension}`
    files.set(name, { type, body })
    return name
  }
  const assets = { css: add('css', 'text/css; charset=utf-8'), js: add('js', 'text/javascript; charset=utf-8') }
  return { assets, files }
}
