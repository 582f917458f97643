// A local Ethereum chain. Its accounts and keys are anvil's published development ones: it carries no value, and cannot
// be reached from other machines.

import { access, mkdir, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { repeat } from '../repeat.ts'
import { spawnChild, type Child } from './child.ts'
import { assertPortFree } from './port.ts'

const HOST = '127.0.0.1'
const ANVIL_READY_WITHIN_MS = 20_000
const ANVIL_STOP_WITHIN_MS = 10_000
const CALL_WITHIN_MS = 1_000
/** A long chain has megabytes of state. */
const DUMP_WITHIN_MS = 10_000
/** A kill -9 may lose this much of the chain; a stop in order loses nothing. */
const SAVE_EVERY_MS = 5_000

/** An idle chain hardly grows, and an unpaid order ends within a minute of its window. */
const IDLE_BLOCK_S = 60

export const ANVIL_CHAIN_ID = 31_337

export type AnvilOptions = {
  readonly port: number
  /** Keeps the chain between starts; the log goes to `log/`. */
  readonly dataDir: string
  /**
   * When blocks are mined: with each transaction and once a minute, since expiries wait for the chain's clock; at an
   * interval in seconds; or only on request (`evm_mine`).
   */
  readonly mining: 'automatic' | 'manual' | { readonly everySeconds: number }
}

export type Anvil = Child & {
  readonly url: string
  readonly chainId: number
  /** Writes the chain's state: no kill takes back what was mined before the call. */
  readonly save: () => Promise<void>
}

/**
 * Starts the chain from its last state, and saves it every few seconds. Anvil's own `--state` writes into the file that
 * it starts from: a kill within the write leaves half a file, and the chain never starts again.
 * @throws {StartError} when it does not come up; {Error} when the port is taken or npm has no anvil for this platform
 */
export async function startAnvil({ port, dataDir, mining }: AnvilOptions): Promise<Anvil> {
  await assertPortFree(port, 'anvil')
  const home = join(dataDir, 'anvil')
  await mkdir(home, { recursive: true })
  const url = `http://${HOST}:${port}`
  const file = join(home, 'state.json')
  const hasState = await access(file).then(
    () => true,
    () => false,
  )
  const child = await spawnChild({
    name: 'anvil',
    command: findAnvil(),
    args: [
      ...['--host', HOST, '--port', String(port), '--chain-id', String(ANVIL_CHAIN_ID), '--quiet'],
      // Finalized two blocks behind the tip, not 64: a watcher that asks for `finalized` gets an answer here too.
      ...['--slots-in-an-epoch', '1'],
      ...(hasState ? ['--load-state', file] : []),
      ...miningArgs(mining),
    ],
    env: { HOME: home },
    logFile: join(dataDir, 'log', 'anvil.log'),
    isReady: () => isAnswering(url),
    readyWithinMs: ANVIL_READY_WITHIN_MS,
    stopWithinMs: ANVIL_STOP_WITHIN_MS,
    stopSignal: 'SIGINT',
  })
  const save = createSave(url, file)
  const over = new AbortController()
  void child.exited.then(() => over.abort())
  void repeat(save, { signal: over.signal, everyMs: SAVE_EVERY_MS, firstAfterMs: SAVE_EVERY_MS, onError: tryAgain })
  const stop = async (): Promise<void> => {
    await save().catch(tryAgain)
    await child.stop()
  }
  return { ...child, url, chainId: ANVIL_CHAIN_ID, save, stop }
}

/** A state that was not saved is saved at the next turn, and by the stop. */
const tryAgain = (): void => undefined

/** Saves one after another, each to a file of its own that then takes the place of the last one. */
function createSave(url: string, file: string): () => Promise<void> {
  let last: string | undefined
  const save = async (): Promise<void> => {
    const dump = await call(url, 'anvil_dumpState', DUMP_WITHIN_MS)
    if (dump === last || !dump?.startsWith('0x')) return
    await writeFile(`${file}.tmp`, gunzipSync(Buffer.from(dump.slice(2), 'hex')))
    await rename(`${file}.tmp`, file)
    last = dump
  }
  let saving: Promise<void> = Promise.resolve()
  return () => (saving = saving.catch(() => undefined).then(save))
}

function miningArgs(mining: AnvilOptions['mining']): string[] {
  if (mining === 'automatic') return ['--mixed-mining', '--block-time', String(IDLE_BLOCK_S)]
  if (mining === 'manual') return ['--no-mining']
  return ['--block-time', String(mining.everySeconds)]
}

/** The binary from the package for this platform: npm's wrapper script would be a second process to supervise. */
function findAnvil(): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  const name = `@foundry-rs/anvil-${process.platform}-${arch}`
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/anvil`)
  } catch (cause) {
    throw new Error(`there is no ${name}: npm carries no anvil for this platform`, { cause })
  }
}

const isAnswering = async (url: string): Promise<boolean> =>
  Number(await call(url, 'eth_chainId', CALL_WITHIN_MS)) === ANVIL_CHAIN_ID

async function call(url: string, method: string, withinMs: number): Promise<string | undefined> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: [] }),
    signal: AbortSignal.timeout(withinMs),
  })
  const { result } = (await response.json()) as { result?: string }
  return result
}
