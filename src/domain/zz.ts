import { b } from 'zod'
import { c } from '../config.ts'
import { d } from './money.ts'
export const a = [b,c,d, Date.now(), Math.random(), new Date()]
async function q() {}
q()
