// Runs h2spec, the conformance tests of HTTP/2 (RFC 7540) and HPACK (RFC 7541), against a port.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findTool } from './servers.ts'

/** How long a case waits for frames. A case that expects silence takes all of it. */
const TIMEOUT_S = 1

export type Conformance = {
  passed: number
  /** `SECTION | CASE`, sorted. */
  failed: string[]
}

/** @throws {Error} when it ends without a report */
export async function runH2spec(address: string): Promise<Conformance> {
  const program = process.env['HOLDFAST_H2SPEC'] ?? (await findTool('h2spec'))
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-h2spec-'))
  const report = join(folder, 'report.xml')
  const [host = '', port = ''] = address.split(':')
  const where = ['--host', host, '--port', port, '--timeout', String(TIMEOUT_S), '--junit-report', report]
  try {
    await once(spawn(program, where, { stdio: 'ignore' }), 'exit')
    return resultOf(await readFile(report, 'latin1'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** By pattern: the report is no XML where a failure quotes bytes. */
function resultOf(report: string): Conformance {
  const cases = [...report.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)]
  const isFailed = (body: string): boolean => body.includes('<error>') || body.includes('<failure>')
  return {
    passed: cases.filter(([, , , body = '']) => body.trim() === '').length,
    failed: cases
      .filter(([, , , body = '']) => isFailed(body))
      .map(([, section, title]) => `${section} | ${title}`)
      .toSorted((a, b) => a.localeCompare(b)),
  }
}
