// Generates docs/configuration.md from the code: names and defaults from config.ts, descriptions from variable.ts.
// `npm run docs` writes it; test/readme.test.ts compares.

import { variablesOf, type ProcessName } from '../../src/config.ts'
import { ASSETS } from '../../src/domain/payment.ts'
import { DESCRIPTIONS } from '../../src/variable.ts'

/** The processes of a deployment, and below them those on a developer's or operator's machine. */
const PROCESSES = ['api', 'worker', 'keys', 'watcher', 'sealer', 'migrate'] as const
const PROGRAMS = ['cli', 'stack'] as const
const SHOWN_NAME: Readonly<Partial<Record<ProcessName, string>>> = { cli: 'npx holdfast', stack: 'npm start' }

export const CONFIGURATION_PAGE = 'docs/configuration.md'

const HEAD = `# Configuration

Generated from src/config.ts and src/variable.ts: change those, then run \`npm run docs\`.

Each process reads its environment variables at start. It refuses to start on a missing or unsafe value and names the variable. Secrets are read from files. In a name, \`<ASSET>\` stands for ${ASSETS.slice(0, -1).join(', ')} or ${ASSETS.at(-1) ?? ''}. A default of «–» means that the variable may be absent.
`

export const configurationText = (): string =>
  [
    HEAD,
    '## Processes\n',
    ...tableOf(PROCESSES),
    '\n## Command line and development stack\n',
    ...tableOf(PROGRAMS),
  ].join('\n') + '\n'

/** The defaults of one variable, each with the processes that have it. */
type Defaults = Map<string, string[]>

function tableOf(processes: readonly ProcessName[]): string[] {
  const rows = new Map<string, Defaults>()
  for (const processName of processes) {
    for (const [name, unset] of documentedOf(processName)) {
      const defaults: Defaults = rows.get(name) ?? new Map<string, string[]>()
      const readers = defaults.get(unset) ?? []
      const reader = SHOWN_NAME[processName] ?? processName
      rows.set(name, defaults.set(unset, readers.includes(reader) ? readers : [...readers, reader]))
    }
  }
  const words = new Map<string, string>(Object.entries(DESCRIPTIONS))
  const lines = [...rows].map(([name, defaults]) => {
    const readers = [...new Set([...defaults.values()].flat())]
    return `| \`${name}\` | ${readers.join(', ')} | ${shown(defaults)} | ${words.get(name) ?? ''} |`
  })
  return ['| variable | read by | default | what it sets |', '| --- | --- | --- | --- |', ...lines]
}

const shown = (defaults: Defaults): string =>
  defaults.size === 1
    ? [...defaults.keys()].join('')
    : [...defaults].map(([value, readers]) => `${value} (${readers.join(', ')})`).join('; ')

/** Name and default of each variable; the variables of each asset share one entry, under their pattern. */
function documentedOf(processName: ProcessName): [name: string, unset: string][] {
  const variables = variablesOf(processName)
  const names = new Set(variables.map(({ name }) => name))
  return variables.map((variable) => {
    const pattern = variable.name.replace(new RegExp(`^HOLDFAST_(${ASSETS.join('|')})_`), 'HOLDFAST_<ASSET>_')
    const isShared = ASSETS.every((asset) => names.has(pattern.replace('<ASSET>', asset)))
    return [isShared ? pattern : variable.name, variable.isRequired ? 'required' : (variable.default ?? '–')]
  })
}
