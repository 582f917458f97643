// Bundles the workflows into workflow-bundle.js, which a production worker loads, and copies the files of the payment
// page, which the compiler leaves out. Fails when workflow code imports what its sandbox does not have.
// `node tools/bundle.mjs [FOLDER]`

import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleWorkflowCode } from '@temporalio/worker'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const folder = process.argv[2] ?? join(ROOT, 'dist')

const { code } = await bundleWorkflowCode({ workflowsPath: join(ROOT, 'src/workflows/index.ts') })
await mkdir(folder, { recursive: true })
await writeFile(join(folder, 'workflow-bundle.js'), code)
await cp(join(ROOT, 'src/http/static'), join(folder, 'http/static'), { recursive: true })
