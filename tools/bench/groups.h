// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "tools/bench/device_path.h"
#include "tools/bench/raw_path.h"
#include "tools/bench/runner.h"

namespace tapir::bench {

/// What is measured: the parameters of one group of cases.
struct Subject {
  enum class Direction : std::uint8_t { kTransmit, kReceive, kBoth, kRoundTrip };
  Direction direction = Direction::kTransmit;
  FrameMix mix;
  unsigned backlog = 256;
  DeviceSetup device;                     ///< its engine is replaced by each of `engines`
  std::vector<std::string> engines;       ///< each makes a case; the raw ceiling comes first
  std::uint64_t verified_frames = 20000;  ///< in a stream

  /// For tests of `guest`: see GuestSetup.
  std::optional<std::uint64_t> lose = std::nullopt;

  /// "TX 118 B", "RX 64K TSO into 4096 B buffers".
  std::string title() const;
};

/// Every raw method in this direction, the plain call first.
GroupSpec raw_group(const Subject& subject);
/// The device on each engine, next to the raw call of the same shape, which is the ceiling.
GroupSpec device_group(const Subject& subject);
/// A guest in a real machine on each engine, next to the raw call as in device_group().
GroupSpec guest_group(const Subject& subject);
/// The device with its I/O thread under a stream.
GroupSpec stream_group(const Subject& subject);

}  // namespace tapir::bench
