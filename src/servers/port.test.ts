import { createServer } from 'node:net'
import { assertPortFree, freePorts, isPortFree } from './port.ts'

const FIRST_OUTGOING_PORT = 32_768

test('free ports are different, free, and not among those of outgoing connections', async () => {
  const ports = await freePorts(20)
  expect(new Set(ports).size).toBe(20)
  expect(await Promise.all(ports.map(isPortFree))).not.toContain(false)
  expect(Math.max(...ports)).toBeLessThan(FIRST_OUTGOING_PORT)
})

test('a port in use is refused with who wants it and what to do', async () => {
  const [port] = await freePorts(1)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await expect(assertPortFree(port ?? 0, 'Postgres')).rejects.toThrow(
    `port ${port} is in use, and Postgres needs it: stop what listens there, or choose other ports with --port-base`,
  )
  await new Promise((resolve) => server.close(resolve))
})
