// npm start: runs a stack for people and programs to use.

import { rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { findSettings, loadConfig } from '../../config.ts'
import { addressOf, DEFAULT_PORT_BASE } from '../../servers/wiring.ts'
import type { Stack } from '../../servers/stack.ts'
import { repeat } from '../../repeat.ts'
import { DEFAULT_DATA_DIR, exportOf, PEOPLE, readyFileIn, writeReady, type Ready } from '../ready_file.ts'
import { createProgress, launchStack, metricsUrlOf, stopSignal, type Launch } from './launch.ts'
import { openShop, type NewProduct } from './shop.ts'

/** An admin's token lives for five minutes. */
const TOKEN_LIFE_MS = 5 * 60_000
const REWRITE_EVERY_MS = 2 * 60_000

const PRODUCTS: readonly NewProduct[] = [
  { productId: 'lamp', name: 'Desk lamp', unitPrice: '45.00', units: 100 },
  { productId: 'chair', name: 'Oak chair', unitPrice: '189.90', units: 25 },
  { productId: 'mug', name: 'Stoneware mug', unitPrice: '12.50', units: 500 },
  { productId: 'vase', name: 'One-off vase', unitPrice: '320.00', units: 1 },
]

export type StartCommandOptions = {
  dataDir: string
  portBase?: number
  readyFile?: string
  fresh?: boolean
  adopt?: boolean
}

/** Runs until Ctrl-C or SIGTERM. */
export async function runStartCommand(options: StartCommandOptions): Promise<void> {
  const log = createProgress()
  const signal = stopSignal(log)
  const config = loadConfig('stack')
  if (options.fresh === true && config.DATABASE_URL !== undefined)
    throw new Error('--fresh does not empty the database of DATABASE_URL: empty it yourself, or unset DATABASE_URL')
  const dataDir = resolve(options.dataDir)
  const readyFiles = [...new Set([readyFileIn(dataDir), resolve(options.readyFile ?? readyFileIn(dataDir))])]
  const withdraw = () => Promise.all(readyFiles.map((path) => rm(path, { force: true })))
  const launch: Launch = {
    dataDir,
    portBase: options.portBase ?? DEFAULT_PORT_BASE,
    fresh: options.fresh === true,
    adopt: options.adopt === true,
    // A block with each transaction, and one a minute: an idle chain hardly grows.
    mining: 'automatic',
    settings: findSettings(),
    uiBinary: config.HOLDFAST_TEMPORAL_UI,
    databaseUrl: config.DATABASE_URL,
    // A ready file that a killed stack left would send callers to dead addresses.
    onClaim: withdraw,
    signal,
  }
  log(`starting a stack in ${dataDir}`)
  try {
    const stack = await launchStack(config, launch, log)
    try {
      await serve(stack, dataDir, readyFiles, signal, log)
    } finally {
      await withdraw()
      await stack.stop()
    }
  } catch (error) {
    // Stopped during the start: the parts that had started have been stopped.
    if (!signal.aborted) throw error
  }
  log('everything has stopped')
}

async function serve(
  stack: Stack,
  dataDir: string,
  readyFiles: readonly string[],
  signal: AbortSignal,
  log: (line: string) => void,
): Promise<void> {
  await seed(stack)
  const publish = async (): Promise<void> => {
    const ready = await describe(stack, dataDir)
    for (const path of readyFiles) await writeReady(path, ready)
  }
  await publish()
  process.stdout.write(welcome(stack, readyFiles))
  await repeat(publish, {
    signal,
    everyMs: REWRITE_EVERY_MS,
    firstAfterMs: REWRITE_EVERY_MS,
    onError: (error) => log(`tokens not renewed: ${(error as Error).message}`),
  })
}

/** Sample products. On later starts they exist already and keep their changes. */
async function seed(stack: Stack): Promise<void> {
  const shop = openShop(stack)
  try {
    for (const product of PRODUCTS) await shop.stockProduct(product)
  } finally {
    shop.close()
  }
}

async function describe(stack: Stack, dataDir: string): Promise<Ready> {
  const { ports, secrets, temporalAddress, uiUrl, chainUrl, databaseUrl } = stack
  const [api] = ports.apis
  const [worker] = ports.workers
  const tokensEndAt = new Date(Date.now() + TOKEN_LIFE_MS).toISOString()
  const tokens = await Promise.all(
    Object.entries(PEOPLE).map(async ([name, { role, subject }]) => {
      return [name, { role, subject, token: await stack.mintToken(role, subject) }] as const
    }),
  )
  return {
    pid: process.pid,
    dataDir,
    api: addressOf(api?.grpc ?? 0),
    admin: addressOf(api?.admin ?? 0),
    temporal: {
      address: temporalAddress,
      namespace: stack.temporalNamespace,
      ...(uiUrl !== undefined && { ui: uiUrl }),
    },
    database: databaseUrl,
    audit: { database: stack.auditorUrl, file: stack.auditFile, publicKeys: secrets.sealPublicKeys },
    chains: chainUrl === undefined ? {} : { ethereum: chainUrl },
    metrics: {
      api: metricsUrlOf(api?.metrics ?? 0),
      worker: metricsUrlOf(worker?.metrics ?? 0),
      'worker-sdk': metricsUrlOf(worker?.sdk ?? 0),
      keys: metricsUrlOf(ports.keys),
      watcher: metricsUrlOf(ports.watcher),
      sealer: metricsUrlOf(ports.sealer),
      payer: metricsUrlOf(ports.payer),
    },
    jwt: { secretsFile: secrets.jwt, ...stack.tokenClaims },
    tokens: Object.fromEntries(tokens),
    tokensEndAt,
  }
}

function welcome(
  { ports, uiUrl, chainUrl, temporalAddress, sealRefusal }: Stack,
  readyFiles: readonly string[],
): string {
  const [api] = ports.apis
  return [
    '',
    'Holdfast is running.',
    `  gRPC            ${addressOf(api?.grpc ?? 0)}   admin ${addressOf(api?.admin ?? 0)}`,
    `  Payment pages   http://${addressOf(api?.pay ?? 0)}   each order has a link`,
    ...(uiUrl === undefined ? [] : [`  Temporal's UI   ${uiUrl}`]),
    `  Temporal        ${temporalAddress}`,
    ...(chainUrl === undefined ? [] : [`  Ethereum (dev)  ${chainUrl}`]),
    `  addresses and tokens: ${readyFiles.join(', ')}`,
    ...(sealRefusal === undefined ? [] : adviceOn(sealRefusal)),
    '',
    'In another terminal:',
    ...(readyFiles.includes(readyFileIn(DEFAULT_DATA_DIR)) ? [] : [`  ${exportOf(readyFiles[0] ?? '')}`]),
    '  npx holdfast product list',
    '  npx holdfast order create lamp:2',
    '  npx holdfast pay ORDER',
    '  npx holdfast order watch ORDER',
    '  npx holdfast order ship ORDER',
    '',
    'Ctrl-C stops everything in order; the next start finds its data again.',
    '',
  ].join('\n')
}

const adviceOn = (refusal: string): string[] => [
  '',
  `The sealer signs nothing (${refusal}): the audit's newest entries are not verifiable.`,
  '  Was the database restored, and is it the one you meant? Then stop, and: npm start -- --adopt',
  '  Else take it for an intrusion: docs/operations.md, «The audit»',
]
