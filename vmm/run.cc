// SPDX-License-Identifier: Apache-2.0
#include "vmm/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "net/base/log.h"
#include "vmm/event_loop.h"
#include "vmm/exit_status.h"
#include "vmm/host_resources.h"
#include "vmm/json_report.h"
#include "vmm/json_statistics.h"
#include "vmm/machine.h"
#include "vmm/network_info.h"
#include "vmm/run_end.h"
#include "vmm/terminal.h"

namespace tapir::vmm {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPWR, SIGUSR1, SIGTSTP, SIGCONT};

using Clock = std::chrono::steady_clock;

/// How long after the panic line the kernel may take to tell of the panic, before the run ends.
constexpr std::chrono::seconds kPanicTime{5};
/// How often a line of the console without an end is looked at.
constexpr std::chrono::milliseconds kPartialLineTime{50};
/// What is shown of the console after an end that needs explaining.
constexpr std::size_t kShownLines = 50;
constexpr std::size_t kShownWidth = 400;

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

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
    TAPIR_TRY(watch_console());
    if (config_.log_network) {
      log_network();
    }
    TAPIR_TRY(loop_->add(host_->rtc_timer.get(), EPOLLIN,
                         [this](std::uint32_t) { machine_->rtc_timer_expired(); }));
    TAPIR_TRY_ASSIGN(limit_timer_, LoopTimer::create(*loop_, [this] { on_time_limit(); }));
    TAPIR_TRY(make_machine());
    if (config_.serial.kind == SerialConfig::Kind::kStdio) {
      TAPIR_TRY(open_terminal());
    }
    return host_->serial_file ? host_->serial_file->commit() : Status();
  }

  Result<int> run() {
    started_ = Clock::now();
    start_time_limit();
    for (;;) {
      ++boots_;
      TAPIR_TRY(machine_->start());
      TAPIR_TRY(loop_->run());
      stop_machine();
      RunEnd end = end_of_machine();
      if (boots_again(end)) {
        if (end.reason == EndReason::kTripleFault) {
          // Some guests reboot this way, but more often it is a crash that would otherwise leave no trace.
          log_guest(LogLevel::kWarning, "the guest had a triple fault and reboots");
        }
        TAPIR_TRY(make_machine());
        continue;
      }
      TAPIR_TRY(pause_where_asked(end));
      return finish(std::move(end));
    }
  }

  /// Of a run that ended by an error of the host's after the guest had begun, or before.
  void report_error(const std::string& sentence) {
    RunReport report;
    report.status = static_cast<int>(ExitStatus::kCannotRun);
    report.cause = "cannot-run";
    report.sentence = sentence;
    write_report(std::move(report));
  }

 private:
  Status watch_console() {
    TAPIR_TRY_ASSIGN(host_->console,
                     ConsoleWatch::create(config_.end.expect, config_.end.fail, host_->serial_output.get(),
                                          [this](ConsoleWatch::Event event) { on_console(event); }));
    TAPIR_TRY_ASSIGN(panic_seen_, EventFd::create());
    TAPIR_TRY_ASSIGN(panic_timer_, LoopTimer::create(*loop_, [this] { machine_->end(EndReason::kPanic); }));
    TAPIR_TRY(loop_->add(panic_seen_->fd(), EPOLLIN, [this](std::uint32_t) {
      panic_seen_->clear();
      panic_timer_->start(kPanicTime);
    }));
    if (!config_.end.expect.empty() || !config_.end.fail.empty()) {
      TAPIR_TRY_ASSIGN(partial_line_timer_,
                       LoopTimer::create(*loop_, [this] { host_->console->look_at_partial_line(); }));
      partial_line_timer_->start(kPartialLineTime, kPartialLineTime);
    }
    return {};
  }

  /// On vCPU threads, and on this one. The machine stays as long as they run.
  void on_console(ConsoleWatch::Event event) {
    switch (event) {
      case ConsoleWatch::Event::kPanic:
        if (config_.end.panic != EndConfig::Panic::kNone) {
          machine_->note_panic();
          panic_seen_->signal();
        }
        break;
      case ConsoleWatch::Event::kPanicEnd:
        machine_->end(EndReason::kPanic);
        break;
      case ConsoleWatch::Event::kExpected:
        machine_->end(EndReason::kExpected);
        break;
      case ConsoleWatch::Event::kFailed:
        machine_->end(EndReason::kFailMatched);
        break;
    }
  }

  Status make_machine() {
    machine_.reset();  // the old one leaves the resources before the new one takes them
    TAPIR_TRY_ASSIGN(machine_, Machine::create(config_, *host_, [this] { loop_->stop(); }));
    return {};
  }

  void stop_machine() {
    machine_->stop();
    panic_timer_->cancel();
    machine_->add_exit_counts(exits_);
  }

  RunEnd end_of_machine() {
    Machine::Outcome outcome = machine_->outcome();
    return {outcome.reason, std::move(outcome.detail), outcome.guest_status, signal_, {}};
  }

  bool resets(const RunEnd& end) const {
    return end.reason == EndReason::kReset || end.reason == EndReason::kTripleFault;
  }

  bool boots_again(RunEnd& end) const {
    if (!resets(end) || !config_.reboot) {
      return false;
    }
    // The machine took the guest's reset for its end; the operator's wish came second but is not forgotten.
    if (operator_end_ || warned_) {
      end.reason = operator_end_.value_or(EndReason::kTimeLimit);
      return false;
    }
    return true;
  }

  Status pause_where_asked(RunEnd& end) {
    const bool shut_down = end.reason == EndReason::kPowerOff || resets(end);
    const bool pause = (shut_down && config_.end.pause_at_shutdown) ||
                       (end.reason == EndReason::kPanic && config_.end.panic == EndConfig::Panic::kPause);
    if (!pause || operator_end_) {
      return {};
    }
    log(LogLevel::kInfo, end_sentence(with_console(end), config_.end) +
                             "; tapir waits, as it was told to, until a signal or Ctrl-A x ends it");
    paused_ = true;
    while (!operator_end_) {
      TAPIR_TRY(loop_->run());
    }
    if (end.reason == EndReason::kPowerOff || end.reason == EndReason::kReset) {
      end.reason = *operator_end_;
      end.signal = signal_;
    }
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
      case SIGUSR1:
        print_statistics();
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

  void start_time_limit() {
    if (config_.end.time_limit != 0) {
      limit_timer_->start(std::chrono::seconds(config_.end.time_limit - config_.end.time_warning));
    }
  }

  void on_time_limit() {
    if (config_.end.time_warning != 0 && !warned_) {
      warned_ = true;
      log(LogLevel::kWarning, fmt::format("the time limit of {} s comes in {} s: pressing the power button",
                                          config_.end.time_limit, config_.end.time_warning));
      machine_->press_power_button();
      limit_timer_->start(std::chrono::seconds(config_.end.time_warning));
    } else {
      end(EndReason::kTimeLimit);
    }
  }

  void print_statistics() const { print_line(json_statistics(machine_->nic_statistics())); }

  void end(EndReason reason) {
    operator_end_ = reason;
    machine_->end(reason);
    if (paused_) {
      loop_->stop();
    }
  }

  /// The end as it looks to one who has read the console too.
  RunEnd with_console(RunEnd end) const {
    host_->console->look_at_partial_line();
    end.missing = host_->console->missing();
    const bool by_itself = end.reason == EndReason::kPowerOff || end.reason == EndReason::kReset;
    if (by_itself && !host_->console->failure().empty()) {
      end.reason = EndReason::kFailMatched;
    } else if (by_itself && !config_.end.expect.empty() && end.missing.empty()) {
      end.reason = EndReason::kExpected;
    } else if (by_itself && warned_) {
      end.reason = EndReason::kTimeLimit;
    } else if (by_itself && !end.missing.empty()) {
      end.reason = EndReason::kExpectMissed;
    }
    if (end.reason == EndReason::kFailMatched) {
      end.detail = host_->console->failure();
    } else if (end.reason == EndReason::kPanic) {
      end.detail = host_->console->panic();
    }
    return end;
  }

  int finish(RunEnd machine_end) {
    const RunEnd end = with_console(std::move(machine_end));
    terminal_.reset();
    report_lost_output();
    const int status = run_status(end, config_.end);
    const std::string sentence = end_sentence(end, config_.end);
    if (is_abnormal(end.reason)) {
      explain(end, sentence);
    }
    RunReport report;
    report.status = status;
    report.cause = cause_name(end.reason);
    report.sentence = sentence;
    write_report(std::move(report));
    return status;
  }

  void explain(const RunEnd& end, const std::string& sentence) const {
    log(LogLevel::kError, sentence);
    if (end.reason != EndReason::kInternalError) {  // whose detail has them
      for (const std::string& line : machine_->describe_vcpus()) {
        log(LogLevel::kError, line);
      }
    }
    const auto lines = host_->console->record().last_lines(kShownLines, kShownWidth);
    if (!lines.empty()) {
      log(LogLevel::kError, fmt::format("the last {} lines of the console:", lines.size()));
    }
    for (const std::string& line : lines) {
      log(LogLevel::kError, "| " + line);
    }
  }

  void write_report(RunReport report) const {
    if (config_.end.report_path.empty()) {
      return;
    }
    if (started_) {
      report.first_instruction_seconds = seconds(*started_ - begun_);
    }
    if (host_ && host_->console) {
      if (const auto init = host_->console->init_time()) {
        report.init_seconds = seconds(*init - begun_);
      }
      report.console = host_->console->record();
    }
    report.total_seconds = seconds(Clock::now() - begun_);
    report.boots = boots_;
    report.kvm_exits = exits_;
    if (machine_) {
      report.nics = machine_->nic_statistics();
    }
    if (const auto written = vmm::write_report(config_.end.report_path, report); !written) {
      log(LogLevel::kError, written.error().message());
    }
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
  const Clock::time_point begun_ = Clock::now();
  std::optional<Clock::time_point> started_;
  unsigned boots_ = 0;
  std::map<std::string, std::uint64_t> exits_;
  int signal_ = 0;  ///< the last that ends the guest
  std::optional<EndReason> operator_end_;
  bool warned_ = false;  ///< the power button was pressed because the time limit comes
  bool paused_ = false;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<SignalWatch> signals_;
  std::unique_ptr<HostResources> host_;
  std::optional<EventFd> panic_seen_;
  std::unique_ptr<LoopTimer> panic_timer_;
  std::unique_ptr<LoopTimer> partial_line_timer_;
  std::unique_ptr<LoopTimer> limit_timer_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace

Result<int> run_guest(const MachineConfig& config) {
  GuestRun run(config);
  const Status opened = run.open();
  Result<int> status = opened ? run.run() : tl::unexpected<Error>(opened.error());
  if (!status) {
    run.report_error(status.error().message());
  }
  return status;
}

void report_failure(const std::string& path, const std::string& sentence) {
  MachineConfig config;
  config.end.report_path = path;
  GuestRun(config).report_error(sentence);
}

}  // namespace tapir::vmm
