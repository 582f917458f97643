// Configuration: from environment variables to one typed frozen object per process. The only reader of process.env. A
// process refuses to start with a missing or unsafe value, and names the variable and what to do. Secrets come from
// files.

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { cidrsOf, LIST_VARIABLES, CONFIG_SCHEMAS } from './config_schema.ts'
import { findContradictions, findUnsafeSettings } from './domain/deployment.ts'

/** Thrown at start only; the message is for the operator and names no secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export type ProcessName = keyof typeof CONFIG_SCHEMAS
export type Config<P extends ProcessName> = Readonly<z.output<(typeof CONFIG_SCHEMAS)[P]>>

const LOOPBACK = ['127.0.0.0/8', '::1/128']

/** Who may reach the admin port: no caller, unless networks are given; in development, this machine. */
export const adminCidrsOf = ({ HOLDFAST_ADMIN_CIDRS: list, HOLDFAST_MODE }: Config<'api'>): readonly string[] =>
  list === undefined && HOLDFAST_MODE === 'development' ? LOOPBACK : cidrsOf(list ?? '')

/** Finds more that is wrong, such as in the files that variables name: one line for each. */
export type Inspection = (env: NodeJS.ProcessEnv, runMode: 'production' | 'development') => readonly string[]

/**
 * Reads and checks the configuration of one process. Throws ConfigError with all problems, one line for each.
 * @param inspect more checks, so that one error lists everything
 */
export function loadConfig<P extends ProcessName>(
  process_: P,
  env: NodeJS.ProcessEnv = process.env,
  inspect: Inspection = () => [],
): Config<P> {
  const schema = CONFIG_SCHEMAS[process_]
  const names = Object.keys(schema.shape)
  const empty = names.filter((name) => env[name]?.trim() === '' && !LIST_VARIABLES.has(name))
  const result = schema.safeParse(env)
  const problems = [
    ...empty.map((name) => `${name}: must not be empty`),
    ...(result.error?.issues ?? [])
      .filter((issue) => !empty.includes(issue.path.join('.')))
      .map((issue) => `${issue.path.join('.')}: ${problemOf(issue, env)}`),
  ]
  problems.push(...findProblems(process_, names, env, inspect))
  if (result.success && problems.length === 0) return Object.freeze(withPassword(result.data)) as Config<P>
  const lines = [...new Set(problems)].map((problem) => `  ${problem}`)
  throw new ConfigError(
    `${process_} cannot start; correct these variables (docs/configuration.md has all):\n${lines.join('\n')}`,
  )
}

function findProblems(process_: ProcessName, names: string[], env: NodeJS.ProcessEnv, inspect: Inspection): string[] {
  const variables = new Set(names)
  // The command line and the starter of a development stack name what they use themselves.
  const isService = process_ !== 'cli' && process_ !== 'stack'
  const runMode = env['HOLDFAST_MODE'] === 'development' || process_ === 'stack' ? 'development' : 'production'
  const defaults = variablesOf(process_).filter(({ name }) => /_(PORT|BIND)$/.test(name))
  const listeners = Object.fromEntries(defaults.map(({ name, default: value }) => [name, value]))
  const problems = findContradictions({ ...listeners, ...env }, variables)
  let given: NodeJS.ProcessEnv = env
  try {
    given = withPassword(env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    problems.push(error.message)
  }
  if (runMode === 'production') {
    const nodeSwitches = [env['NODE_OPTIONS'] ?? '', ...process.execArgv].join(' ')
    const url = isService ? given['DATABASE_URL'] : undefined
    problems.push(...findUnsafeSettings({ ...env, DATABASE_URL: url }, variables, nodeSwitches))
  }
  return [...problems, ...inspect(env, runMode)]
}

/** What is wrong with a variable, without its value. */
function problemOf(issue: z.core.$ZodIssue, env: NodeJS.ProcessEnv): string {
  if (env[issue.path.join('.')] === undefined && issue.code === 'invalid_type') return 'is not set'
  if (issue.code === 'invalid_type') return 'must be a number'
  if (issue.code === 'invalid_format' && issue.format === 'url')
    return 'must be a URL, such as postgres://ROLE@HOST/DATABASE or http://HOST:PORT'
  if (issue.code === 'too_small' && issue.origin === 'string') return 'must not be empty'
  if (issue.code === 'too_small') return `must be at least ${issue.minimum}`
  if (issue.code === 'too_big') return `must be at most ${issue.maximum}`
  return issue.message
}

/** DATABASE_URL with the password of DATABASE_PASSWORD_FILE, where that is set. Throws ConfigError. */
function withPassword<Data extends object>(data: Data): Data {
  const {
    DATABASE_URL: text,
    DATABASE_PASSWORD_FILE: path,
  }: { DATABASE_URL?: unknown; DATABASE_PASSWORD_FILE?: unknown } = data
  if (typeof text !== 'string' || typeof path !== 'string' || path === '' || !URL.canParse(text)) return data
  const url = new URL(text)
  url.password = encodeURIComponent(readSecretFile('DATABASE_PASSWORD_FILE', path))
  return { ...data, DATABASE_URL: url.href }
}

export type Variable = { name: string; isRequired: boolean; default: string | undefined; range: string | undefined }

/** The variables of one process, for the tests that hold documents and deployments to them. */
export function variablesOf(process_: ProcessName): Variable[] {
  return Object.entries<z.ZodType>(CONFIG_SCHEMAS[process_].shape).map(([name, type]) => {
    const unset = type.safeParse(undefined)
    return {
      name,
      isRequired: !unset.success,
      default: unset.data === undefined ? undefined : `${unset.data as string | number}`,
      range: rangeOf(type),
    }
  })
}

/** The bounds of a number, as «1 to 20»; undefined for what is no number. */
function rangeOf(type: z.ZodType): string | undefined {
  const {
    minimum,
    exclusiveMinimum,
    maximum = Number.MAX_SAFE_INTEGER,
  } = z.toJSONSchema(type, { unrepresentable: 'any' })
  const least = minimum ?? (typeof exclusiveMinimum === 'number' ? exclusiveMinimum + 1 : undefined)
  if (least === undefined) return undefined
  return maximum < Number.MAX_SAFE_INTEGER ? `${least} to ${maximum}` : `at least ${least}`
}

/** The environment's variables that the processes of a stack read, to be passed on to them. */
export function findSettings(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const { api, worker, keys, watcher, sealer, payer } = CONFIG_SCHEMAS
  const known = new Set([api, worker, keys, watcher, sealer, payer].flatMap((schema) => Object.keys(schema.shape)))
  const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(given.filter(([name]) => name.startsWith('HOLDFAST_') && known.has(name)))
}

/** A secret from a file, without its trailing newline. Throws ConfigError naming the variable, never the content. */
export function readSecretFile(variable: string, path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new ConfigError(`${variable}: cannot read the file it names`, { cause })
  }
}
