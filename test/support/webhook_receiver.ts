// A webhook receiver: a real HTTP server that stores what it gets, answers as configured, and can be down.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export type Delivery = {
  id: string
  headers: Record<string, string>
  /** Byte for byte. */
  body: string
}

export type WebhookReceiver = {
  url: URL
  /** Everything received, accepted or refused, oldest first. */
  deliveries: () => readonly Delivery[]
  /** Sets how it answers from now on: with a status code, or with a function. */
  answer: (how: number | ((delivery: Delivery, response: ServerResponse) => void)) => void
  /** Stops listening; and listens again at the same address. */
  down: () => Promise<void>
  up: () => Promise<void>
}

const HOST = '127.0.0.1'

/** A receiver that answers 204. Call `down` at the end. */
export async function createWebhookReceiver(): Promise<WebhookReceiver> {
  const deliveries: Delivery[] = []
  let answer: (delivery: Delivery, response: ServerResponse) => void = (_delivery, response) =>
    response.writeHead(204).end()
  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const headers = request.headers as Record<string, string>
    const delivery = { id: headers['webhook-id'] ?? '', headers, body: Buffer.concat(chunks).toString() }
    deliveries.push(delivery)
    answer(delivery, response)
  }
  let server: Server
  const listen = async (port: number): Promise<number> => {
    // A sender may abort a request midway.
    server = createServer((request, response) => void receive(request, response).catch(() => undefined))
    server.listen(port, HOST)
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const port = await listen(0)
  return {
    url: new URL(`http://${HOST}:${port}/hook`),
    deliveries: () => deliveries,
    answer: (how) => {
      answer = typeof how === 'number' ? (_delivery, response) => response.writeHead(how).end() : how
    },
    down: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
    up: async () => void (await listen(port)),
  }
}
