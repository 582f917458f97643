// The only file the workflow bundler enters.

export { aftercare } from './aftercare.ts'
export { order } from './order.ts'
