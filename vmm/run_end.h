// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/machine_config.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// How a whole run ended, through its reboots: what the exit status, the sentence and the report are made of.
struct RunEnd {
  EndReason reason = EndReason::kQuit;
  std::string detail;  ///< of kInternalError; of kFailMatched what matched what; of kPanic its line
  std::uint8_t guest_status = 0;     ///< of kGuestStatus
  int signal = 0;                    ///< of kSignal
  std::vector<std::string> missing;  ///< expressions of -expect that have not matched
};

/// tapir's exit status.
int run_status(const RunEnd& end, const EndConfig& config);
/// One word for programs: "power-off", "reset", "panic" and so on; the manual lists them.
std::string_view cause_name(EndReason reason);
/// One sentence for people, without a period.
std::string end_sentence(const RunEnd& end, const EndConfig& config);
/// Whether the operator will want to know what the guest did last.
bool is_abnormal(EndReason reason);

}  // namespace tapir::vmm
