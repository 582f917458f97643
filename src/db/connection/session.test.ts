import { expect, test } from '@jest/globals'
import pg from 'pg'
import { ANSWER_WITHIN_MS, POOL_WAIT_MS, sessionConfig, VALUE_FORMS } from './session.ts'

/** As pg understands it, from url and settings together. */
const startOf = (url: string, settings = {}): string => {
  const client = new pg.Client(sessionConfig({ url, applicationName: 'test', settings }))
  const { options } = (client as unknown as { connectionParameters: { options: string } }).connectionParameters
  return options
}

test('a session begins with every form in which we read values', () => {
  const options = startOf('postgres://db/holdfast')
  for (const [name, value] of Object.entries(VALUE_FORMS)) expect(options).toContain(`-c ${name}=${value}`)
})

test('settings in the url are kept, and stand before ours', () => {
  const options = startOf('postgres://db/holdfast?options=-c%20work_mem%3D8MB%20-c%20datestyle%3DGerman', {
    jit: 'off',
  })
  expect(options).toMatch(/^-c work_mem=8MB -c datestyle=German .*-c datestyle=ISO,MDY .*-c jit=off$/)
})

test('a setting with spaces or backslashes is one setting', () => {
  expect(startOf('postgres://db/holdfast', { 'holdfast.actor': '{"a":"b c\\d"}' })).toContain(
    String.raw`-c holdfast.actor={"a":"b\ c\\d"}`,
  )
})

test('a call to a server that hangs ends before the default deadline of calls', () => {
  expect(POOL_WAIT_MS + ANSWER_WITHIN_MS).toBeLessThan(10_000)
})
