// SPDX-License-Identifier: Apache-2.0
#include "vmm/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <utility>

#include "net/base/log.h"
#include "vmm/event_loop.h"
#include "vmm/exit_status.h"
#include "vmm/host_resources.h"
#include "vmm/machine.h"
#include "vmm/network_info.h"
#include "vmm/terminal.h"

namespace tapir::vmm {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPWR, SIGTSTP, SIGCONT};

/// The control thread's half of a run: what outlives each machine and what reaches the present one.
class GuestRun {
 public:
  explicit GuestRun(const MachineConfig& config) : config_(config) {}

  Status open() {
    // Peers that close a pipe and full disks are errors of write(2), not the end of the guest.
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);
    TAPIR_TRY_ASSIGN(loop_, EventLoop::create());
    TAPIR_TRY_ASSIGN(signals_,
                     SignalWatch::create(*loop_, kSignals, [this](int number) { on_signal(number); }));
    TAPIR_TRY_ASSIGN(host_, HostResources::open(config_));
    if (config_.log_network) {
      log_network();
    }
    TAPIR_TRY(loop_->add(host_->rtc_timer.get(), EPOLLIN,
                         [this](std::uint32_t) { machine_->rtc_timer_expired(); }));
    TAPIR_TRY(make_machine());
    if (config_.serial.kind == SerialConfig::Kind::kStdio) {
      TAPIR_TRY(open_terminal());
    }
    return host_->serial_file ? host_->serial_file->commit() : Status();
  }

  Result<int> run() {
    for (;;) {
      TAPIR_TRY(machine_->start());
      TAPIR_TRY(loop_->run());
      machine_->stop();
      const Machine::Outcome outcome = machine_->outcome();
      const bool resets = outcome.reason == EndReason::kReset || outcome.reason == EndReason::kTripleFault;
      if (!resets || !config_.reboot) {
        return finish(outcome);
      }
      // The machine took the guest's reset for its end; the operator's wish came second but is not forgotten.
      if (operator_end_) {
        return finish({*operator_end_, {}, 0});
      }
      if (outcome.reason == EndReason::kTripleFault) {
        // Some guests reboot this way, but more often it is a crash that would otherwise leave no trace.
        log_guest(LogLevel::kWarning, "the guest had a triple fault and reboots");
      }
      TAPIR_TRY(make_machine());
    }
  }

 private:
  Status make_machine() {
    machine_.reset();  // the old one leaves the resources before the new one takes them
    TAPIR_TRY_ASSIGN(machine_, Machine::create(config_, *host_, [this] { loop_->stop(); }));
    return {};
  }

  void log_network() const {
    unsigned index = 0;
    for (const HostNic& nic : host_->network.nics) {
      log(LogLevel::kInfo, network_info(nic.config, index++, nic.mac, nic.ifname, config_.hubs));
    }
  }

  Status open_terminal() {
    Terminal::Handlers handlers;
    handlers.input = [this](std::span<const std::byte> bytes) { return machine_->serial()->receive(bytes); };
    handlers.quit = [this] { end(EndReason::kQuit); };
    TAPIR_TRY_ASSIGN(terminal_, Terminal::create(*loop_, STDIN_FILENO, STDOUT_FILENO, TerminalOptions{},
                                                 std::move(handlers)));
    return loop_->add(host_->serial_input_space.fd(), EPOLLIN, [this](std::uint32_t) {
      host_->serial_input_space.clear();
      terminal_->input_possible();
    });
  }

  void on_signal(int number) {
    switch (number) {
      case SIGPWR:
        machine_->press_power_button();
        break;
      case SIGTSTP:
        if (terminal_) {
          terminal_->suspend();
        } else {
          ::raise(SIGSTOP);
        }
        break;
      case SIGCONT:
        if (terminal_) {
          terminal_->resume();
        }
        break;
      default:
        signal_ = number;
        end(EndReason::kSignal);
    }
  }

  void end(EndReason reason) {
    operator_end_ = reason;
    machine_->end(reason);
  }

  int finish(const Machine::Outcome& outcome) {
    terminal_.reset();
    report_lost_output();
    if (!outcome.detail.empty()) {
      log(LogLevel::kError, outcome.detail);
    }
    return exit_status(outcome.reason,
                       outcome.reason == EndReason::kGuestStatus ? outcome.guest_status : signal_);
  }

  void report_lost_output() {
    if (!host_->serial_output) {
      return;
    }
    host_->serial_output->finish();
    if (const SerialLoss loss = host_->serial_output->loss(); loss.bytes != 0) {
      log(LogLevel::kWarning,
          fmt::format("{} bytes of the guest's serial output were lost: {}", loss.bytes, loss.reason));
    }
  }

  const MachineConfig& config_;
  int signal_ = 0;  ///< the last that ends the guest
  std::optional<EndReason> operator_end_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<SignalWatch> signals_;
  std::unique_ptr<HostResources> host_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace

Result<int> run_guest(const MachineConfig& config) {
  GuestRun run(config);
  TAPIR_TRY(run.open());
  return run.run();
}

}  // namespace tapir::vmm
