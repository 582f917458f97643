// Describes the machine of a run: absolute figures hold only there, so results are compared by ratios.

import { open, rm } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { percentile } from './statistics.ts'

const FSYNC_WRITES = 200
const FSYNC_BYTES = 8_192

/** @param dataDir on the same disk as the run's databases */
export async function describeEnvironment(dataDir: string): Promise<Record<string, string | number>> {
  const fsyncMs = await measureFsync(dataDir)
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    fsyncMsP50: percentile(fsyncMs, 0.5),
    fsyncMsP99: percentile(fsyncMs, 0.99),
  }
}

/** Time of one durable page write: the speed of the disk itself. */
async function measureFsync(dataDir: string): Promise<number[]> {
  const path = join(dataDir, 'fsync-probe')
  const file = await open(path, 'w')
  try {
    const page = Buffer.alloc(FSYNC_BYTES, 1)
    const took: number[] = []
    for (let written = 0; written < FSYNC_WRITES; written += 1) {
      const start = performance.now()
      await file.write(page, 0, page.length, 0)
      await file.datasync()
      took.push(performance.now() - start)
    }
    return took
  } finally {
    await file.close()
    await rm(path)
  }
}
