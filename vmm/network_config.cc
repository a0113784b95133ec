// SPDX-License-Identifier: Apache-2.0
#include "vmm/network_config.h"

namespace tapir::vmm {

std::string_view default_up_script() {
  return TAPIR_SCRIPT_DIRECTORY "/ifup";
}

std::string_view default_down_script() {
  return TAPIR_SCRIPT_DIRECTORY "/ifdown";
}

}  // namespace tapir::vmm
