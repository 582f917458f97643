// `npm run docs`: writes the pages that are generated from code.

import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CONFIGURATION_PAGE, configurationText } from './support/configuration.ts'
import { PERMISSIONS_PAGE, permissionsText } from './support/permission.ts'
import { REFERENCE_FOLDER, referencePages } from './support/reference.ts'
import { ROOT } from './support/source.ts'

await rm(join(ROOT, REFERENCE_FOLDER), { recursive: true, force: true })
await mkdir(join(ROOT, REFERENCE_FOLDER), { recursive: true })
for (const [page, text] of [
  [CONFIGURATION_PAGE, configurationText()],
  [PERMISSIONS_PAGE, permissionsText()],
  ...referencePages(),
] as const) {
  await writeFile(join(ROOT, page), text)
  console.log(`${page} is written`)
}
