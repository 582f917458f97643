// The only file the workflow bundler enters.

export { aftercare } from './aftercare.ts'
export { backstop } from './backstop.ts'
export { consistency } from './consistency.ts'
export { forgetAnswers } from './forget.ts'
export { order } from './order.ts'
