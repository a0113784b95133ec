// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_config.h"

namespace tapir::vmm {

const std::string_view kDefaultUpScript = TAPIR_SCRIPT_DIRECTORY "/ifup";
const std::string_view kDefaultDownScript = TAPIR_SCRIPT_DIRECTORY "/ifdown";

}  // namespace tapir::vmm
