// Generates docs/configuration.md from the code: names and defaults from config.ts, descriptions from variable.ts.
// `npm run docs` writes it; test/readme.test.ts compares.

import { variablesOf, type ProcessName } from '../../src/config.ts'
import { ASSETS } from '../../src/domain/payment.ts'
import { DESCRIPTIONS } from '../../src/variable.ts'

/** The processes of a deployment, and below them those on a developer's or operator's machine. */
const PROCESSES = ['api', 'worker', 'keys', 'watcher', 'sealer', 'payer', 'migrate'] as const
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

/** The values of one column for a variable, each with the processes that have it. */
type Values = Map<string, string[]>

function tableOf(processes: readonly ProcessName[]): string[] {
  const rows = new Map<string, { defaults: Values; ranges: Values }>()
  for (const processName of processes) {
    const reader = SHOWN_NAME[processName] ?? processName
    for (const [name, unset, range] of documentedOf(processName)) {
      const row = rows.get(name) ?? { defaults: new Map<string, string[]>(), ranges: new Map<string, string[]>() }
      add(row.defaults, unset, reader)
      add(row.ranges, range, reader)
      rows.set(name, row)
    }
  }
  const words = new Map<string, string>(Object.entries(DESCRIPTIONS))
  const lines = [...rows].map(([name, { defaults, ranges }]) => {
    const readers = [...new Set([...defaults.values()].flat())]
    return `| \`${name}\` | ${readers.join(', ')} | ${shown(defaults)} | ${shown(ranges)} | ${words.get(name) ?? ''} |`
  })
  return ['| variable | read by | default | range | what it sets |', '| --- | --- | --- | --- | --- |', ...lines]
}

function add(values: Values, value: string, reader: string): void {
  const readers = values.get(value) ?? []
  values.set(value, readers.includes(reader) ? readers : [...readers, reader])
}

const shown = (values: Values): string =>
  values.size === 1
    ? [...values.keys()].join('')
    : [...values].map(([value, readers]) => `${value} (${readers.join(', ')})`).join('; ')

/** Name, default and range of each variable; the variables of each asset share one entry, under their pattern. */
function documentedOf(processName: ProcessName): [name: string, unset: string, range: string][] {
  const variables = variablesOf(processName)
  const names = new Set(variables.map(({ name }) => name))
  return variables.map((variable) => {
    const pattern = variable.name.replace(new RegExp(`^HOLDFAST_(${ASSETS.join('|')})_`), 'HOLDFAST_<ASSET>_')
    const isShared = ASSETS.every((asset) => names.has(pattern.replace('<ASSET>', asset)))
    return [
      isShared ? pattern : variable.name,
      variable.isRequired ? 'required' : (variable.default ?? '–'),
      variable.range ?? '',
    ]
  })
}
