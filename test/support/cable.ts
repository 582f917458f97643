// A cable to a server that can be pulled and plugged in again: what an outage looks like from a client.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type Cable = {
  /** host:port, to be used instead of the server's own. */
  address: string
  /** Every connection breaks, and new ones are closed at once. */
  pull: () => void
  plug: () => void
  close: () => Promise<void>
}

export async function createCable(target: string): Promise<Cable> {
  const { hostname: host, port } = new URL(`tcp://${target}`)
  const sockets = new Set<Socket>()
  let isPulled = false
  const server = createServer((near) => {
    if (isPulled) return void near.destroy()
    const far = connect(Number(port), host)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => (sockets.delete(from), to.destroy()))
      from.pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const pull = (): void => {
    isPulled = true
    for (const socket of sockets) socket.destroy()
  }
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    pull,
    plug: () => void (isPulled = false),
    close: async () => {
      pull()
      server.close()
      await once(server, 'close')
    },
  }
}
