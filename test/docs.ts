// `npm run docs`: writes the pages that are generated from code.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CONFIGURATION_PAGE, configurationText } from './support/configuration.ts'
import { PERMISSIONS_PAGE, permissionsText } from './support/permission.ts'
import { ROOT } from './support/source.ts'

for (const [page, text] of [
  [CONFIGURATION_PAGE, configurationText()],
  [PERMISSIONS_PAGE, permissionsText()],
] as const) {
  await writeFile(join(ROOT, page), text)
  console.log(`${page} is written`)
}
