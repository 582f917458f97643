// The JSON-RPC client against a server whose headers, statuses and sizes a test chooses.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { openTestPool } from '../../test/support/node_pair.ts'
import { createBatchRpc, createRpc, RpcBusyError, type RpcMessage } from './rpc.ts'

jest.setTimeout(120_000)
const WITHIN_MS = 60_000

type Handle = (request: IncomingMessage, response: ServerResponse) => void
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** @returns host:port, and how often it was called */
async function serve(handle: Handle) {
  const calls: IncomingMessage[] = []
  const server = createServer((request, response) => {
    calls.push(request)
    request.resume().on('end', () => handle(request, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, calls }
}
const answer = (response: ServerResponse, result: unknown): unknown =>
  response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result }))

test('a user and a password of the URL go into a header, and are neither in an error nor in a metric', async () => {
  const { host, calls } = await serve((_, response) => answer(response, '0x1'))
  const url = `http://ann:s%3Acret@${host}/key-7`
  expect(await createRpc(url, WITHIN_MS)('eth_chainId', [], z.string())).toBe('0x1')
  expect(calls[0]?.headers.authorization).toBe(`Basic ${Buffer.from('ann:s:cret').toString('base64')}`)
  expect(calls[0]?.url).toBe('/key-7')

  const pool = openTestPool({ url: 'http://ann:s3cret@127.0.0.1:1/key-7' })
  const error: unknown = await pool.client.getTip().catch((thrown: unknown) => thrown)
  const texts = [String(error), JSON.stringify(error), pool.log.join(''), await pool.exposition()].join('\n')
  expect(texts).toContain('the node did not answer')
  expect(texts).toContain('a node is set aside')
  expect(texts).not.toMatch(/s3cret|key-7|127\.0\.0\.1/)
})

test('a redirect is not followed: it would show the call to another host', async () => {
  const other = await serve((_, response) => answer(response, '0x1'))
  const { host } = await serve((_, response) => {
    response.writeHead(307, { location: `http://${other.host}/` }).end()
  })
  await expect(createRpc(`http://${host}`, WITHIN_MS)('eth_chainId', [], z.string())).rejects.toThrow('did not answer')
  expect(other.calls).toHaveLength(0)
})

test('an answer without an end is cut at a bound of its size', async () => {
  const { host } = await serve((_, response) => {
    const part = Buffer.alloc(1_048_576, ' ')
    const write = (): void => {
      while (!response.destroyed && response.write(part));
    }
    response.on('drain', write)
    write()
  })
  await expect(createRpc(`http://${host}`, WITHIN_MS)('eth_chainId', [], z.string())).rejects.toMatchObject({
    cause: { message: 'the answer is too large' },
  })
})

test('a body that stops in the middle is cut by the deadline', async () => {
  const { host } = await serve((_, response) => void response.write('{"jsonrpc":'))
  await expect(createRpc(`http://${host}`, 500)('eth_chainId', [], z.string())).rejects.toThrow('did not answer')
})

test.each([
  [429, '7', 7_000],
  [429, undefined, undefined],
  [503, '7', 7_000],
  [429, '86400', 300_000],
])('status %i with Retry-After %s asks to wait for %s ms', async (status, header, retryAfterMs) => {
  const { host } = await serve((_, response) => {
    response.writeHead(status, header === undefined ? {} : { 'retry-after': header }).end('{}')
  })
  const error: unknown = await createRpc(`http://${host}`, WITHIN_MS)('eth_chainId', [], z.string()).catch(
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(RpcBusyError)
  expect(error).toMatchObject({ message: 'eth_chainId: the node asks to wait', retryAfterMs })
})

test('a node that asks to wait is not called before, although there is no other', async () => {
  const { host, calls } = await serve((_, response) => {
    response.writeHead(429, { 'retry-after': '60' }).end()
  })
  const { client, pass, aside } = openTestPool({ url: `http://${host}` })
  await expect(client.getTip()).rejects.toThrow('asks to wait')
  for (let look = 0; look < 59; look += 1) {
    pass(1_000)
    await expect(client.getTip()).rejects.toThrow('each node has asked to wait')
  }
  expect(calls).toHaveLength(1)
  expect(await aside()).toEqual(['1 busy'])
  // Its jitter is a quarter at most.
  pass(16_000)
  await expect(client.getTip()).rejects.toThrow('the node asks to wait')
  expect(calls).toHaveLength(2)
})

test('each message is told with its calls, bytes and outcome', async () => {
  const texts = [
    JSON.stringify({ jsonrpc: '2.0', id: 1, result: '0x1' }),
    JSON.stringify([0, 1].map((id) => ({ jsonrpc: '2.0', id, result: '0x1' }))),
    JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: -1, message: 'no' } }),
    'not JSON',
  ]
  const { host, calls } = await serve((_, response) => void response.end(texts[calls.length - 1]))
  const messages: RpcMessage[] = []
  const onMessage = (message: RpcMessage): void => void messages.push(message)
  const rpc = createRpc(`http://${host}`, WITHIN_MS, onMessage)
  await rpc('a', [], z.string())
  await createBatchRpc(`http://${host}`, WITHIN_MS, onMessage)('b', [[], []], z.string())
  await rpc('c', [], z.string()).catch(() => undefined)
  await rpc('d', [], z.string()).catch(() => undefined)
  expect(messages).toEqual([
    { method: 'a', calls: 1, bytes: texts[0]?.length, outcome: 'ok' },
    { method: 'b', calls: 2, bytes: texts[1]?.length, outcome: 'ok' },
    { method: 'c', calls: 1, bytes: texts[2]?.length, outcome: 'refused' },
    { method: 'd', calls: 1, bytes: 0, outcome: 'failed' },
  ])
})
