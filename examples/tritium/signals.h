// SPDX-License-Identifier: Apache-2.0
// Signals as the contract wants them: Ctrl-C is a request, a shrinking model file is an error line.
#pragma once

namespace cli {

/// SIGPIPE and SIGXFSZ are ignored, so that writes report EPIPE and EFBIG; SIGBUS inside a mapped model ends the
/// process with an error line and status 1; SIGINT ends it with one and status 130.
void install_signal_handlers();

/// While one lives, SIGINT only sets a flag that the work asks for; a second SIGINT ends the process.
class CatchInterrupts {
 public:
  CatchInterrupts();
  CatchInterrupts(const CatchInterrupts&) = delete;
  CatchInterrupts& operator=(const CatchInterrupts&) = delete;
  ~CatchInterrupts();
};

/// Whether SIGINT came since the last reset_interrupt().
bool interrupted();
void reset_interrupt();
/// Readable from an interrupt to its reset: what a wait for input polls, so that no interrupt falls between a check and
/// the wait.
int interrupt_descriptor();

}  // namespace cli
