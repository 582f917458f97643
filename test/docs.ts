// `npm run docs`: writes the pages that are generated from code.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CONFIGURATION_PAGE, configurationText } from './support/configuration.ts'
import { ROOT } from './support/source.ts'

await writeFile(join(ROOT, CONFIGURATION_PAGE), configurationText())
console.log(`${CONFIGURATION_PAGE} is written`)
