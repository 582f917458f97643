// Bundles the workflows into workflow-bundle.js, which a production worker loads. Fails when workflow code imports what
// its sandbox does not have. `node tools/bundle.mjs [FOLDER]`

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleWorkflowCode } from '@temporalio/worker'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const folder = process.argv[2] ?? join(ROOT, 'dist')

const { code } = await bundleWorkflowCode({ workflowsPath: join(ROOT, 'src/workflows/index.ts') })
await mkdir(folder, { recursive: true })
await writeFile(join(folder, 'workflow-bundle.js'), code)
