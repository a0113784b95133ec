// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "vmm/console_record.h"
#include "vmm/nic_statistics.h"

namespace tapir::vmm {

/// What the file of -report holds. The manual describes its form.
struct RunReport {
  int status = 0;
  std::string cause;     ///< run_end.h's, or "cannot-run"
  std::string sentence;  ///< without a period
  std::optional<double>
      first_instruction_seconds;       ///< since tapir began; not known of a guest that did not run
  std::optional<double> init_seconds;  ///< likewise, where the kernel said so
  double total_seconds = 0;
  unsigned boots = 0;
  std::map<std::string, std::uint64_t> kvm_exits;  ///< by the name of the reason, over all vCPUs
  std::vector<NicStatistics> nics;                 ///< of the last boot
  ConsoleRecord console;
};

/// The JSON text, with the memory that the process has needed at most.
std::string report_text(const RunReport& report);

/// Writes the report to the path: to a new file beside it, which then takes its place, so that nobody sees
/// half of one. What is no regular file, such as /dev/stderr or a pipe, is written to. Error: names the path.
[[nodiscard]] Status write_report(const std::string& path, const RunReport& report);

}  // namespace tapir::vmm
