// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::vmm {

/// A command that runs when the guest's run is over.
struct BrokerCommand {
  std::string context;  ///< what asked for it, for messages
  std::vector<std::string>
      words;  ///< the program, searched for in PATH if it has no slash, and its arguments
};

/// A small child process that does what must still be done when this process has ended, in whatever way, be
/// it by SIGKILL; and what this process cannot do itself once it is confined, since that starts programs. It
/// is forked before there is a tap, /dev/kvm or guest memory, and of what this process has open it keeps its
/// socket and standard error only. It has a session of its own and ignores the signals that end or stop a
/// whole group of processes, so neither Ctrl-C nor a service manager's SIGTERM takes it away before its work.
///
///     TAPIR_TRY_ASSIGN(auto broker, Broker::start());    // while there is one thread
///     TAPIR_TRY(broker->add({"-net bridge,...", {"/etc/tapir-down", "--ifname=tap0"}}));
///     TAPIR_TRY(broker->seal());                         // before the guest runs
///     broker->finish();                                  // or this process just ends
///
/// It waits on the socket. When that is shut down by finish(), or closed because this process is gone, it
/// runs the commands once each in the order in which they came, without a shell and with kCommandLimit for
/// each, prints a warning for every one that fails, and ends. A command has the environment and working
/// directory that this process had at start(), /dev/null as standard input and output, and no other
/// descriptor than these and standard error, which is caught for the warning. Control thread.
class Broker {
 public:
  /// A command that takes longer is killed, with its process group.
  static constexpr std::chrono::seconds kCommandLimit{5};
  /// The most that the context and the words of a command may take together, with one byte after each.
  static constexpr std::size_t kMaxCommandBytes = std::size_t{64} * 1024;

  /// Forks it, and returns when it has closed what it shall not hold. Error: the host's limit.
  [[nodiscard]] static Result<std::unique_ptr<Broker>> start();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;
  /// finish().
  ~Broker();

  /// From now on the command will run. Error: it is too long, or the broker was killed.
  [[nodiscard]] Status add(const BrokerCommand& command);

  /// No command can be added any more: whatever a guest makes of this process, it cannot choose what the
  /// broker runs. Error: the broker was killed.
  [[nodiscard]] Status seal();

  /// Has the commands run now and waits until that is done, at most as long as they may take. Warns when the
  /// broker was killed before. Harmless the second time.
  void finish();

  pid_t pid() const { return pid_; }

 private:
  Broker(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {}
  Status send(std::string_view message) const;

  pid_t pid_;
  UniqueFd socket_;  ///< none: it is finished
  unsigned commands_ = 0;
};

}  // namespace tapir::vmm
