// SPDX-License-Identifier: Apache-2.0
#include "vmm/end_options.h"

#include <fmt/format.h>

#include <array>

#include "vmm/console_pattern.h"
#include "vmm/key_value_list.h"

namespace tapir::vmm {
namespace {

using Type = KeySpec::Type;
using Panic = EndConfig::Panic;

constexpr std::int64_t kMaxSeconds = std::int64_t{366} * 24 * 3600;

constexpr std::array kActionKeys{
    KeySpec{.name = "reboot", .type = Type::kChoice, .value = "reset|shutdown", .example = "shutdown"},
    KeySpec{.name = "shutdown", .type = Type::kChoice, .value = "poweroff|pause", .example = "pause"},
    KeySpec{.name = "panic",
            .type = Type::kChoice,
            .value = "exit-failure|shutdown|pause|none",
            .example = "exit-failure"},
    KeySpec{.name = "watchdog",
            .type = Type::kAbsent,
            .help = "tapir's machine has no watchdog; -time-limit ends a guest that hangs"}};

constexpr std::array kTimeLimitKeys{
    KeySpec{.name = "seconds", .type = Type::kNumber, .example = "600", .min = 1, .max = kMaxSeconds},
    KeySpec{.name = "warn", .type = Type::kNumber, .example = "20", .min = 1, .max = kMaxSeconds}};

struct PanicName {
  std::string_view name;
  Panic action;
};
constexpr std::array kPanicNames{PanicName{"exit-failure", Panic::kExitFailure},
                                 PanicName{"shutdown", Panic::kShutdown}, PanicName{"pause", Panic::kPause},
                                 PanicName{"none", Panic::kNone}};

Status add_pattern(std::vector<std::string>& patterns, std::string_view argument) {
  TAPIR_TRY(ConsolePattern::compile(argument));
  patterns.emplace_back(argument);
  return {};
}

}  // namespace

Status apply_action(MachineConfig& machine, std::string_view argument) {
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kActionKeys));
  if (const auto reboot = list.find("reboot")) {
    machine.reboot = *reboot == "reset";
  }
  if (const auto shutdown = list.find("shutdown")) {
    machine.end.pause_at_shutdown = *shutdown == "pause";
  }
  const std::string_view panic = list.find("panic").value_or("");
  for (const PanicName& one : kPanicNames) {
    machine.end.panic = one.name == panic ? one.action : machine.end.panic;
  }
  return {};
}

Status apply_time_limit(MachineConfig& machine, std::string_view argument) {
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kTimeLimitKeys, "seconds"));
  const auto seconds = list.find("seconds");
  if (!seconds) {
    return fail("the seconds are missing; for example -time-limit 600,warn=20");
  }
  const std::int64_t limit = number_value(*seconds);
  const std::int64_t warning = number_value(list.find("warn").value_or("0"));
  if (warning >= limit) {
    return fail(fmt::format("warn={} is not less than the limit of {} seconds", warning, limit));
  }
  machine.end.time_limit = static_cast<std::uint32_t>(limit);
  machine.end.time_warning = static_cast<std::uint32_t>(warning);
  return {};
}

Status apply_expect(MachineConfig& machine, std::string_view argument) {
  return add_pattern(machine.end.expect, argument);
}

Status apply_fail(MachineConfig& machine, std::string_view argument) {
  return add_pattern(machine.end.fail, argument);
}

Status apply_report(MachineConfig& machine, std::string_view argument) {
  if (argument.empty()) {
    return fail("the path is missing; for example -report run.json");
  }
  machine.end.report_path = argument;
  return {};
}

std::vector<std::string> end_words(const EndConfig& end) {
  std::vector<std::string> words;
  const auto add = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
  if (end.pause_at_shutdown) {
    add({"-no-shutdown"});
  }
  for (const PanicName& one : kPanicNames) {
    if (one.action == end.panic && end.panic != EndConfig{}.panic) {
      add({"-action", fmt::format("panic={}", one.name)});
    }
  }
  if (end.time_limit != 0) {
    add({"-time-limit", fmt::format("{}{}", end.time_limit,
                                    end.time_warning == 0 ? "" : fmt::format(",warn={}", end.time_warning))});
  }
  for (const std::string& pattern : end.expect) {
    add({"-expect", pattern});
  }
  for (const std::string& pattern : end.fail) {
    add({"-fail", pattern});
  }
  if (!end.report_path.empty()) {
    add({"-report", end.report_path});
  }
  return words;
}

}  // namespace tapir::vmm
