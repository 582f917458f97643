// Builds the `holdfast` program from its commands.

import { Command } from 'commander'
import { addAuditCommands } from './audit.ts'
import { addChainCommands } from './chain.ts'
import { EXIT_HELP } from './exit.ts'
import { addExportCommand } from './export.ts'
import { addNotificationCommands } from './notification.ts'
import { addOrderCommands } from './order.ts'
import { addPayoutCommands } from './payout.ts'
import { addPayCommand } from './pay.ts'
import { addPreflightCommand } from './preflight.ts'
import { printable } from './print.ts'
import { addPaymentCommands } from './payment.ts'
import { addRefundCommands } from './refund.ts'
import { addRehydrateCommand } from './restart.ts'
import { globalOptions, type Shell } from './session.ts'
import { addProductCommands, addStockCommands } from './stock.ts'
import { addTokenCommand } from './token.ts'
import { addVerifyCommand } from './verify.ts'

/** Creates a program that writes through the shell and throws CommanderError instead of ending the process. */
export function createProgram(given: Shell): Command {
  // The only way to the terminal: whatever a server or a file says, it does not steer it.
  const shell: Shell = {
    ...given,
    write: (text) => given.write(printable(text)),
    complain: (text) => given.complain(printable(text)),
  }
  const program = new Command('holdfast')
    .description(
      'Creates, shows and changes orders of a running Holdfast. Finds the stack of `npm start` automatically.',
    )
    .exitOverride()
    .configureOutput({ writeOut: shell.write, writeErr: shell.complain })
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(for help: holdfast --help, or --help after any command)')
    .addHelpText('afterAll', `\n${EXIT_HELP}`)
  globalOptions(program)
  addOrderCommands(program, shell)
  addRehydrateCommand(program, shell)
  addStockCommands(program, shell)
  addProductCommands(program, shell)
  addPaymentCommands(program, shell)
  addRefundCommands(program, shell)
  addNotificationCommands(program, shell)
  addAuditCommands(program, shell)
  addVerifyCommand(program, shell)
  addExportCommand(program, shell)
  addChainCommands(program, shell)
  addPayoutCommands(program, shell)
  addPreflightCommand(program, shell)
  addPayCommand(program, shell)
  addTokenCommand(program, shell)
  return program
}
