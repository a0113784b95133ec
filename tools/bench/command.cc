// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/command.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "net/base/version.h"
#include "tools/bench/goals.h"
#include "tools/bench/json_report.h"
#include "tools/bench/plot.h"
#include "tools/bench/table.h"

namespace tapir::bench {
namespace {

using Mode = Options::Mode;

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

RunResult describe_run() {
  utsname system{};
  ::uname(&system);
  return {std::string(kVersion), static_cast<const char*>(system.release), cpu_name(), false, {}};
}

std::vector<GroupSpec> groups_for(const Options& options) {
  switch (options.mode) {
    case Mode::kRaw:
      return {raw_group(options.subject)};
    case Mode::kGuest:
      return {guest_group(options.subject)};
    case Mode::kStream:
      return {stream_group(options.subject)};
    case Mode::kGoals:
      return goal_groups(options.subject.engines, options.frames);
    default:
      return {device_group(options.subject)};
  }
}

Result<RunResult> measure(const Options& options) {
  TAPIR_TRY(enter_private_network());
  RunResult run = describe_run();
  run.goals = options.mode == Mode::kGoals;
  RunSettings settings = options.run;
  settings.show_progress = ::isatty(STDERR_FILENO) != 0;
  TAPIR_TRY_ASSIGN(run.groups, run_groups(groups_for(options), settings));
  return run;
}

Status write_files(const Options& options, const RunResult& run) {
  if (!options.json_file.empty()) {
    TAPIR_TRY(write_json(options.json_file, run));
  }
  return options.plot_file.empty() ? Status{} : draw_plot(run, options.plot_file);
}

Outcome report(const Options& options) {
  auto run = options.mode == Mode::kReport ? read_json(options.inputs.front()) : measure(options);
  if (!run) {
    return {{}, tl::unexpected<Error>(std::move(run).error())};
  }
  std::string text = format_results(*run);
  if (run->goals) {
    text += format_verdicts(judge(*run, options.subject.engines));
  }
  return {std::move(text), write_files(options, *run)};
}

Outcome compare(const Options& options) {
  auto before = read_json(options.inputs[0]);
  auto after = read_json(options.inputs[1]);
  for (auto* const run : {&before, &after}) {
    if (!*run) {
      return {{}, tl::unexpected<Error>(std::move(*run).error())};
    }
  }
  return {format_comparison(*before, *after), {}};
}

}  // namespace

Outcome run_command(const Options& options) {
  switch (options.mode) {
    case Mode::kHelp:
      return {help_text(), {}};
    case Mode::kVersion:
      return {fmt::format("tapir-bench {}\n", kVersion), {}};
    case Mode::kCompare:
      return compare(options);
    default:
      return report(options);
  }
}

}  // namespace tapir::bench
