// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "net/base/log.h"
#include "net/base/standard_descriptors.h"
#include "vmm/canonical_options.h"
#include "vmm/exit_status.h"
#include "vmm/options.h"
#include "vmm/run.h"

namespace {

using tapir::LogLevel;

int print(const std::string& text) {
  const bool written = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return static_cast<int>(written ? tapir::vmm::ExitStatus::kSuccess : tapir::vmm::ExitStatus::kCannotRun);
}

int fail(const tapir::Error& error) {
  tapir::log(LogLevel::kError, error.message());
  return static_cast<int>(tapir::vmm::ExitStatus::kCannotRun);
}

int fail(const std::vector<std::string>& problems) {
  for (const std::string& problem : problems) {
    tapir::log(LogLevel::kError, problem);
  }
  return static_cast<int>(tapir::vmm::ExitStatus::kCannotRun);
}

int run(const tapir::vmm::RunOptions& options) {
  for (const std::string& warning : options.warnings) {
    tapir::log(LogLevel::kWarning, warning);
  }
  if (options.dry_run) {
    return print("tapir " + tapir::vmm::shell_text(tapir::vmm::command_line_of(options.machine)) + "\n");
  }
  const auto status = tapir::vmm::run_guest(options.machine);
  return status ? *status : fail(status.error());
}

}  // namespace

int main(int argc, char** argv) {
  tapir::set_log_level(LogLevel::kInfo);
  if (auto filled = tapir::fill_standard_descriptors(); !filled) {
    return fail(filled.error());
  }
  const auto options = tapir::vmm::parse_options(argc, argv);
  if (!options) {
    tapir::vmm::report_failure(tapir::vmm::report_path(argc, argv), options.error().front());
    return fail(options.error());
  }
  if (const auto* const request = std::get_if<tapir::vmm::PrintRequest>(&*options)) {
    return print(request->text);
  }
  return run(std::get<tapir::vmm::RunOptions>(*options));
}
