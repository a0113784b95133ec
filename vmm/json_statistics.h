// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "vmm/nic_statistics.h"

namespace tapir::vmm {

/// The statistics of all NICs as one JSON object on one line, without a newline; tapir(1), STATISTICS, tells
/// of its members. All numbers are there even if 0. Any thread.
std::string json_statistics(std::span<const NicStatistics> nics);

/// The same as a list of one object for each NIC.
nlohmann::ordered_json nic_list(std::span<const NicStatistics> nics);

}  // namespace tapir::vmm
