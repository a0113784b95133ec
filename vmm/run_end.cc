// SPDX-License-Identifier: Apache-2.0
#include "vmm/run_end.h"

#include <fmt/format.h>

#include <cstring>

#include "vmm/exit_status.h"

namespace tapir::vmm {
namespace {

std::string list(const std::vector<std::string>& patterns) {
  std::string text;
  for (const std::string& pattern : patterns) {
    text.append(fmt::format("{}-expect '{}'", text.empty() ? "" : " and ", pattern));
  }
  return text;
}

}  // namespace

int run_status(const RunEnd& end, const EndConfig& config) {
  if (end.reason == EndReason::kPanic && config.panic == EndConfig::Panic::kShutdown) {
    return static_cast<int>(ExitStatus::kSuccess);
  }
  return exit_status(end.reason, end.reason == EndReason::kGuestStatus ? end.guest_status : end.signal);
}

std::string_view cause_name(EndReason reason) {
  switch (reason) {
    case EndReason::kPowerOff:
      return "power-off";
    case EndReason::kReset:
      return "reset";
    case EndReason::kTripleFault:
      return "triple-fault";
    case EndReason::kPanic:
      return "panic";
    case EndReason::kInternalError:
      return "internal-error";
    case EndReason::kGuestStatus:
      return "guest-status";
    case EndReason::kQuit:
      return "quit";
    case EndReason::kSignal:
      return "signal";
    case EndReason::kExpected:
      return "expect";
    case EndReason::kFailMatched:
      return "fail";
    case EndReason::kExpectMissed:
      return "expect-missed";
    case EndReason::kTimeLimit:
      return "time-limit";
  }
  return {};
}

std::string end_sentence(const RunEnd& end, const EndConfig& config) {
  switch (end.reason) {
    case EndReason::kPowerOff:
      return "the guest powered off";
    case EndReason::kReset:
      return "the guest reset the machine, which ends the run under -no-reboot";
    case EndReason::kTripleFault:
      return "the guest had a triple fault";
    case EndReason::kPanic:
      return end.detail.empty() ? "the guest panicked, as its pvpanic driver says"
                                : "the guest panicked: " + end.detail;
    case EndReason::kInternalError:
      return end.detail;
    case EndReason::kGuestStatus:
      return fmt::format("the guest chose the exit status {}", end.guest_status);
    case EndReason::kQuit:
      return "ended by Ctrl-A x";
    case EndReason::kSignal:
      // NOLINTNEXTLINE(concurrency-mt-unsafe): only unknown signals need a buffer
      return fmt::format("ended by signal {} ({})", end.signal, ::strsignal(end.signal));
    case EndReason::kExpected:
      return fmt::format("the console has matched {}", list(config.expect));
    case EndReason::kFailMatched:
      return "-fail " + end.detail;
    case EndReason::kExpectMissed:
      return fmt::format("the guest ended before its console had matched {}", list(end.missing));
    case EndReason::kTimeLimit:
      return fmt::format("the time limit of {} s ended the guest{}{}", config.time_limit,
                         end.missing.empty() ? "" : ", whose console had not matched ", list(end.missing));
  }
  return {};
}

bool is_abnormal(EndReason reason) {
  switch (reason) {
    case EndReason::kPowerOff:
    case EndReason::kReset:
    case EndReason::kGuestStatus:
    case EndReason::kQuit:
    case EndReason::kExpected:
      return false;
    default:
      return true;
  }
}

}  // namespace tapir::vmm
