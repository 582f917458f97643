// Bundles the workflows into dist/workflow-bundle.js, as a worker in production loads them. Fails when workflow code
// reaches what its sandbox does not have.

import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { bundleWorkflowCode } from '@temporalio/worker'

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url))

const { code } = await bundleWorkflowCode({ workflowsPath: path('src/workflows/index.ts') })
await mkdir(path('dist'), { recursive: true })
await writeFile(path('dist/workflow-bundle.js'), code)
console.log(`dist/workflow-bundle.js: ${Math.round(code.length / 1024)} KiB`)
