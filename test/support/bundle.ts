// What is made once for all files and processes of a test run: the workflow code as production bundles it
// (tools/bundle.mjs), and Node's cache of compiled modules.

import { randomUUID } from 'node:crypto'
import { access, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { testServers } from './servers.ts'
import { hashOfSources, ROOT } from './source.ts'

/** All rooms that workflows may import (test/house.test.ts). */
const BUNDLED = 'src/{workflows,domain}/**/*.ts'

/** Where processes that tests start find what an earlier one compiled. */
export const compileCache = (): { NODE_COMPILE_CACHE: string } => ({
  NODE_COMPILE_CACHE: join(testServers().cacheDir, 'compiled'),
})

/** A file for `codePath` of a worker, or for HOLDFAST_WORKFLOW_BUNDLE of a process. Made by the first that needs it. */
export async function workflowBundleFile(): Promise<string> {
  const path = join(testServers().cacheDir, `workflows-${hashOfSources(BUNDLED)}.js`)
  const isMade = await access(path).then(
    () => true,
    () => false,
  )
  if (isMade) return path
  // The bundler costs a second to load alone: not for those who find the file.
  const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker')
  const workflowsPath = join(ROOT, 'src/workflows/index.ts')
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('WARN') })
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, code)
  await rename(draft, path)
  return path
}
