// A client that sends prepared bytes over one connection, many calls at a time, and reports each answer's status as it
// came: for tests with thousands of calls that a typed client would not send.

import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { readDetails, type Detail } from '../../src/grpc/detail.ts'
import type { Method } from '../../src/grpc/method.ts'
import { CALL_WITHIN_MS } from './until.ts'

export type Status = { code: string; message: string; detail: Detail; body: Buffer | undefined }
export type RawClient = {
  /** Resolves with the answer; of a stream, with its first message or its end. */
  ask: (method: Pick<Method, 'path' | 'responseStream'>, body: Buffer, token: string) => Promise<Status>
  close: () => void
}

const same = (bytes: Buffer): Buffer => bytes

export function createRawClient(address: string): RawClient {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 })
  return {
    ask: ({ path, responseStream }, body, token) =>
      new Promise((resolve) => {
        const metadata = new Metadata()
        metadata.set('authorization', `Bearer ${token}`)
        const options = { deadline: Date.now() + CALL_WITHIN_MS }
        const end = (error: Partial<ServiceError> | null, answer?: Buffer): void =>
          resolve({
            code: status[error?.code ?? status.OK],
            message: error?.details ?? '',
            detail: readDetails(error?.metadata ?? new Metadata()),
            body: answer,
          })
        if (!responseStream) return void client.makeUnaryRequest(path, same, same, body, metadata, options, end)
        const stream = client.makeServerStreamRequest(path, same, same, body, metadata, options)
        stream.on('data', (message: Buffer) => (end(null, message), stream.cancel()))
        stream.on('error', (error: ServiceError) => end(error))
        stream.on('end', () => end(null))
      }),
    close: () => client.close(),
  }
}
