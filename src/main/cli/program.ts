// The commands of `holdfast`, put together.

import { Command } from 'commander'
import { addAuditCommands } from './audit.ts'
import { addChainCommands } from './chain.ts'
import { EXIT_HELP } from './exit.ts'
import { addNotificationCommands } from './notification.ts'
import { addOrderCommands } from './order.ts'
import { addPayCommand, addTokenCommand } from './pay.ts'
import { addRehydrateCommand } from './restart.ts'
import { globalOptions, type Shell } from './session.ts'
import { addProductCommands, addStockCommands } from './stock.ts'
import { addVerifyCommand } from './verify.ts'

/** A fresh program: it writes through the shell, and throws CommanderError instead of ending the process. */
export function createProgram(shell: Shell): Command {
  const program = new Command('holdfast')
    .description('Takes, shows and moves orders of a running Holdfast. Finds the stack of `npm start` by itself.')
    .exitOverride()
    .configureOutput({ writeOut: shell.write, writeErr: shell.complain })
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(holdfast --help, and --help after any command, say more)')
    .addHelpText('afterAll', `\n${EXIT_HELP}`)
  globalOptions(program)
  addOrderCommands(program, shell)
  addRehydrateCommand(program, shell)
  addStockCommands(program, shell)
  addProductCommands(program, shell)
  addNotificationCommands(program, shell)
  addAuditCommands(program, shell)
  addVerifyCommand(program, shell)
  addChainCommands(program, shell)
  addPayCommand(program, shell)
  addTokenCommand(program, shell)
  return program
}
