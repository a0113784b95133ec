// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "virtio/testing/transport_driver.h"

namespace tapir::virtio::testing {

/// For typed test suites that hold of either transport.
using TransportDrivers = ::testing::Types<MmioDriver, PciDriver>;

class TransportDriverNames {
 public:
  template <typename Driver>
  static std::string GetName(int /*index*/) {  // NOLINT(readability-identifier-naming): GoogleTest's name
    return std::is_same_v<Driver, MmioDriver> ? "Mmio" : "Pci";
  }
};

}  // namespace tapir::virtio::testing
